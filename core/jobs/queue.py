"""RQ carries the work: *turns*, of which each lets one worker make one panorama.

Which panorama that is, the record says when the turn comes (`JobStore.claim`): tenants are served
one after the other, whoever asked first and for however many. So a turn is of no job, a turn too
many does no harm, and any turn makes up for one that was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import rq
from redis import Redis
from rq.serializers import JSONSerializer

from core.jobs import keys
from core.jobs.connection import redis_away_is_store_unavailable
from core.jobs.record import JobRecord

QUEUE_NAME = "panoweave"
TASK = "worker.tasks.take_turn"  # core.jobs knows no more of workers

_NO_TIMEOUT = -1  # the worker's own watchdog ends a hung step
_RESULT_TTL_S = 60
_FAILURE_TTL_S = 3_600


class Queue:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.rq = rq.Queue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)
        source = resources.files(__package__).joinpath("positions.lua").read_text()
        self._positions = redis.register_script(source)

    def add_turn(self) -> None:
        """After each job that was queued."""
        with redis_away_is_store_unavailable():
            self.rq.enqueue_call(
                TASK,
                description="a turn",
                timeout=_NO_TIMEOUT,
                result_ttl=_RESULT_TTL_S,
                failure_ttl=_FAILURE_TTL_S,
            )

    def top_up(self) -> None:
        """See that no worker idles for want of a turn while jobs wait."""
        with redis_away_is_store_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zcard(keys.QUEUED)
            pipeline.scard(keys.WORKERS)
            pipeline.llen(self.rq.key)
            queued, workers, turns = pipeline.execute()
        # Not one a job: jobs of tenants with as many running as they may would draw them in vain.
        for _ in range(min(queued, max(workers, 1)) - turns):
            self.add_turn()

    def turns(self) -> int:
        with redis_away_is_store_unavailable():
            return self.rq.count

    def position(self, record: JobRecord) -> int | None:
        """How many jobs will be taken before this one; None when it does not wait."""
        return self.positions([record])[record.id]

    def positions(self, records: Sequence[JobRecord]) -> dict[str, int | None]:
        """As things stand: a tenant that comes later may be served before its second job."""
        if not records:
            return {}
        told = [text for record in records for text in (record.tenant, record.id)]
        with redis_away_is_store_unavailable():
            places: Any = self._positions(args=told)
        return {
            record.id: None if place < 0 else place
            for record, place in zip(records, places, strict=True)
        }
