"""What a tenant has used, by day (UTC). transition.lua counts, this module reads."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors

_FIRST_DAY: Final = date(1970, 1, 1)


class Usage(NamedTuple):
    """Of a period."""

    panoramas: int = 0  # that succeeded
    gpu_s: float = 0.0  # of workers, over all attempts, whatever became of them
    bytes: int = 0  # of finished pictures

    def plus(self, other: Usage) -> Usage:
        return Usage(
            self.panoramas + other.panoramas, self.gpu_s + other.gpu_s, self.bytes + other.bytes
        )


def by_day(redis: Redis, tenant: str) -> dict[date, Usage]:
    """The days on which the tenant has used anything, oldest first."""
    with translate_redis_errors():
        fields: Any = redis.hgetall(redis_keys.usage(tenant))
    counted: dict[date, dict[str, int]] = defaultdict(dict)
    for raw, amount in fields.items():
        day, _, what = raw.decode().partition(":")
        counted[_FIRST_DAY + timedelta(int(day))][what] = int(amount)
    return {
        day: Usage(what.get("panoramas", 0), what.get("gpu_ms", 0) / 1_000, what.get("bytes", 0))
        for day, what in sorted(counted.items())
    }


def kept_bytes(redis: Redis, tenant: str) -> int:
    """The bytes of the tenant's records that count against its limit."""
    with translate_redis_errors():
        found: Any = redis.hget(redis_keys.KEPT_BYTES, tenant)
    return int(found or 0)
