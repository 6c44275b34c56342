"""How many requests a tenant may send in a minute."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.settings import Settings

WINDOW_S: Final = 60

Kind = Literal["read", "write"]


class Rate(NamedTuple):
    """A tenant's limit on requests of one kind, after some of them."""

    kind: Kind
    limit: int  # requests in WINDOW_S
    may_pass: bool
    left: int  # requests that may follow at once
    retry_after_s: int  # until as many may pass
    full_after_s: int  # until as many are left as the limit


class Rates:
    """Raises StoreUnavailable if Redis is away."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._limits: dict[Kind, int] = {
            "read": settings.tenant_reads_per_minute,
            "write": settings.tenant_writes_per_minute,
        }
        self._script = register_script(redis, __package__, "rates.lua")

    def take(self, tenant: str, kind: Kind, count: int = 1) -> Rate:
        """Count requests: all of them or, if they may not pass, none."""
        limit = self._limits[kind]
        with translate_redis_errors():
            answer: Any = self._script(
                keys=[redis_keys.rate(kind, tenant)], args=[limit, WINDOW_S, count, kind]
            )
        may_pass, left, wait_ms, full_ms = answer
        return Rate(
            kind=kind,
            limit=limit,
            may_pass=bool(may_pass),
            left=left,
            retry_after_s=max(1, math.ceil(wait_ms / 1_000)),
            full_after_s=math.ceil(full_ms / 1_000),
        )
