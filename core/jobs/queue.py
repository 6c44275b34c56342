"""The queue of tickets, carried by RQ. A ticket lets one worker run one job.

A ticket names no job. `JobStore.claim` chooses the job when the ticket is used, and serves tenants
in turn, however many jobs each has queued. So a ticket too many does no harm, and any ticket
replaces one that was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import rq
from redis import Redis
from rq.serializers import JSONSerializer

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs.record import JobRecord

QUEUE_NAME = "panoweave"
# The function that tickets name. Workers do not look at it; those of version 0.1.0 import it, and
# so still take the tickets of a newer API while a cluster is upgraded.
TICKET: Final = "worker.tasks.take_turn"

_NO_TIMEOUT = -1  # the worker's own watchdog ends a hung step
_RESULT_TTL_S = 60
_FAILURE_TTL_S = 3_600


class QueueEstimate(NamedTuple):
    """When queued jobs may start and end."""

    places: Mapping[str, int]  # how many jobs start before each; only of queued jobs
    etas_s: Mapping[str, float]  # until each has ended; only of queued jobs, where it is known


class Queue:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.rq = rq.Queue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)
        self._estimate = register_script(redis, __package__, "queue_estimate.lua")

    def add_ticket(self) -> None:
        """Add one ticket, needed or not. `top_up` adds as many as are needed."""
        with translate_redis_errors():
            self.rq.enqueue_call(
                TICKET,
                description="a ticket",
                timeout=_NO_TIMEOUT,
                result_ttl=_RESULT_TTL_S,
                failure_ttl=_FAILURE_TTL_S,
            )

    def top_up(self) -> None:
        """Add tickets until no worker idles while jobs wait."""
        with translate_redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zcard(redis_keys.QUEUED)
            pipeline.scard(redis_keys.WORKERS)
            pipeline.llen(self.rq.key)
            queued, workers, tickets = pipeline.execute()
        # One for each worker, not for each job: tenants at their limit of running jobs would use
        # up the others' tickets.
        for _ in range(min(queued, max(workers, 1)) - tickets):
            self.add_ticket()

    def estimate(self, records: Sequence[JobRecord]) -> QueueEstimate:
        """An estimate from the current queue: a tenant that comes later may be served before
        another's second job."""
        asked = [text for record in records for text in (record.tenant, record.id)]
        with translate_redis_errors():
            answer: Any = self._estimate(args=asked)
        places, etas_s = {}, {}
        for record, place, wait_ms, run_ms in zip(records, *answer, strict=True):
            if place >= 0:
                places[record.id] = place
            if wait_ms >= 0 and run_ms >= 0:
                etas_s[record.id] = (wait_ms + run_ms) / 1_000
        return QueueEstimate(places, etas_s)
