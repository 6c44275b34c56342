"""RQ carries the work: *turns*, of which each lets one worker make one panorama.

Which panorama that is, the record says when the turn comes (`JobStore.claim`): tenants are served
one after the other, whoever asked first and for however many. So a turn is of no job, a turn too
many does no harm, and any turn makes up for one that was lost.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import rq
from redis import Redis
from rq.serializers import JSONSerializer

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs.record import JobRecord

QUEUE_NAME = "panoweave"
TASK = "panoweave.worker.job.take_turn"  # panoweave.core.jobs knows no more of workers

_NO_TIMEOUT = -1  # the worker's own watchdog ends a hung step
_RESULT_TTL_S = 60
_FAILURE_TTL_S = 3_600


class QueueEstimate(NamedTuple):
    """What jobs that wait can expect."""

    places: Mapping[str, int]  # how many will be taken before each; only of those that wait
    run_s: float | None  # how long a panorama takes; None before the first success
    workers: int  # how many are made at once

    def eta_s(self, job_id: str) -> float | None:
        """Until it has ended; None where that cannot be told."""
        place = self.places.get(job_id)
        if place is None or self.run_s is None or not self.workers:
            return None
        return self.run_s * (1 + place / self.workers)


class Queue:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.rq = rq.Queue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)
        source = resources.files(__package__).joinpath("queue_estimate.lua").read_text()
        self._outlook = redis.register_script(source)

    def add_ticket(self) -> None:
        """One more, whether or not it is needed: `top_up` knows."""
        with translate_redis_errors():
            self.rq.enqueue_call(
                TASK,
                description="a turn",
                timeout=_NO_TIMEOUT,
                result_ttl=_RESULT_TTL_S,
                failure_ttl=_FAILURE_TTL_S,
            )

    def top_up(self) -> None:
        """See that no worker idles for want of a turn while jobs wait."""
        with translate_redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zcard(redis_keys.QUEUED)
            pipeline.scard(redis_keys.WORKERS)
            pipeline.llen(self.rq.key)
            queued, workers, turns = pipeline.execute()
        # Not one a job: jobs of tenants with as many running as they may would draw them in vain.
        for _ in range(min(queued, max(workers, 1)) - turns):
            self.add_ticket()

    def estimate(self, records: Sequence[JobRecord]) -> QueueEstimate:
        """As things stand: a tenant that comes later may be served before another's second job."""
        told = [text for record in records for text in (record.tenant, record.id)]
        with translate_redis_errors():
            answer: Any = self._outlook(args=told)
        places, run_times_ms, workers = answer
        return QueueEstimate(
            places={
                record.id: place
                for record, place in zip(records, places, strict=True)
                if place >= 0
            },
            run_s=statistics.median(map(int, run_times_ms)) / 1_000 if run_times_ms else None,
            workers=workers,
        )
