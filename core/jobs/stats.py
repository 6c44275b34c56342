"""Statistics of all tenants' jobs, for metrics. transition.lua counts, this module reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors


class Ending(NamedTuple):
    status: str
    code: str  # of a failed job, else empty


class JobStats(NamedTuple):
    oldest_queued_s: float  # how long the oldest queued job has waited; 0 if none waits
    ended: Mapping[Ending, int]  # since Redis was first used
    requeued: Mapping[str, int]  # by reason


def read(redis: Redis) -> JobStats:
    with translate_redis_errors():
        # A Redis at its `maxmemory` would refuse a transaction.
        pipeline = redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(redis_keys.QUEUED, 0, 0, withscores=True)
        pipeline.hgetall(redis_keys.ENDED)
        pipeline.hgetall(redis_keys.REQUEUED)
        (seconds, micros), oldest, ended, requeued = pipeline.execute()
    now_ms = seconds * 1_000 + micros / 1_000
    return JobStats(
        oldest_queued_s=max(0.0, now_ms - oldest[0][1]) / 1_000 if oldest else 0.0,
        ended={_ending(raw): int(times) for raw, times in ended.items()},
        requeued={raw.decode(): int(times) for raw, times in requeued.items()},
    )


def _ending(raw: bytes) -> Ending:
    status, _, code = raw.decode().partition(":")
    return Ending(status, code)
