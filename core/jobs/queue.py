"""RQ carries the work; it is not the record. What RQ loses, `orphaned_queued` finds again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rq
from redis import Redis
from rq.serializers import JSONSerializer

from core.jobs import keys
from core.jobs.connection import redis_away_is_store_unavailable
from core.jobs.record import JobRecord

QUEUE_NAME = "panoweave"
TASK = "worker.tasks.run_panorama"  # called with the job's id; core.jobs knows no more of workers

_NO_TIMEOUT = -1  # the worker's own watchdog ends a hung step
_RESULT_TTL_S = 60
_FAILURE_TTL_S = 3_600


class Queue:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.rq = rq.Queue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)

    def enqueue(self, record: JobRecord) -> None:
        """Idempotent for each attempt. Two callers at the same instant may still push twice: the
        second delivery is refused by `JobStore.start`."""
        with redis_away_is_store_unavailable():
            if self.position(record) is not None:
                return
            self.rq.enqueue_call(
                TASK,
                args=(record.id,),
                job_id=_rq_id(record),
                # RQ's default would hold the arguments; a prompt must never get into its logs.
                description=f"panorama {record.id}",
                timeout=_NO_TIMEOUT,
                result_ttl=_RESULT_TTL_S,
                failure_ttl=_FAILURE_TTL_S,
            )

    def position(self, record: JobRecord) -> int | None:
        """How many jobs will be taken before this one; None when it does not wait."""
        return self.positions([record])[record.id]

    def positions(self, records: Sequence[JobRecord]) -> dict[str, int | None]:
        with redis_away_is_store_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for record in records:
                pipeline.lpos(self.rq.key, _rq_id(record))
            found = pipeline.execute()
        return {record.id: place for record, place in zip(records, found, strict=True)}

    def depth(self) -> int:
        with redis_away_is_store_unavailable():
            return self.rq.count

    def remove(self, record: JobRecord) -> None:
        """Take a cancelled job out, so that those behind it move up."""
        with redis_away_is_store_unavailable():
            pipeline = self._redis.pipeline()
            self.rq.remove(_rq_id(record), pipeline=pipeline)
            pipeline.delete(rq.job.Job.key_for(_rq_id(record)))
            pipeline.execute()

    def orphaned_queued(self, missing_for_s: float) -> list[str]:
        """Ids of queued jobs that no RQ queue has held for `missing_for_s`, across calls.

        A job is missing for a moment whenever it is between record and queue, or between queue
        and `start`: only one that stays missing was lost by a crash. Enqueueing it again ends it.
        """
        with redis_away_is_store_unavailable():
            pipeline = self._redis.pipeline()
            pipeline.time()
            pipeline.zrange(keys.QUEUED, 0, -1)
            pipeline.lrange(self.rq.key, 0, -1)
            pipeline.zrange(keys.UNCLAIMED, 0, -1, withscores=True)
            (seconds, micros), queued, waiting, seen = pipeline.execute()
            now_ms = seconds * 1_000 + micros // 1_000
            since_ms: dict[bytes, float] = dict(seen)
            missing = set(queued) - {rq_id.rpartition(b"-")[0] for rq_id in waiting}
            self._remember(since_ms, missing, now_ms)
        return sorted(
            job_id.decode()
            for job_id in missing
            if since_ms.get(job_id, now_ms) <= now_ms - missing_for_s * 1_000
        )

    def _remember(self, seen: dict[bytes, float], missing: set[bytes], now_ms: int) -> None:
        pipeline: Any = self._redis.pipeline()
        if found := seen.keys() - missing:
            pipeline.zrem(keys.UNCLAIMED, *found)
        if new := missing - seen.keys():
            pipeline.zadd(keys.UNCLAIMED, dict.fromkeys(new, now_ms), nx=True)
        pipeline.execute()


def _rq_id(record: JobRecord) -> str:
    # An id of its own for each attempt: RQ's bookkeeping of a lost attempt, which may still end,
    # cannot touch its successor's.
    return f"{record.id}-{record.attempts}"
