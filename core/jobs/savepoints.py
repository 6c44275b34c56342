"""Where running jobs stand, kept so that another attempt can go on. Knows nothing of the bytes.

In Redis and not in S3: docs/decisions/0005-savepoints-in-redis.md. transition.lua forgets a job's
when nobody can go on with it any more.
"""

from __future__ import annotations

from typing import Any

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.settings import Settings


class Savepoints:
    """One for each job, the last that its current attempt saved; it expires by itself."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        # Never longer than its record, which is what a DELETE finds it by.
        self._ttl_s = min(settings.savepoint_ttl_s, settings.job_ttl_s)
        self._script = register_script(redis, __package__, "savepoint.lua")

    def save(self, job_id: str, token: str, body: bytes) -> bool:
        """Whether the attempt with this token still holds the job; else nothing is stored.

        Raises StoreUnavailable when Redis is away, as `load` does.
        """
        with translate_redis_errors():
            taken: Any = self._script(
                keys=[redis_keys.job(job_id), redis_keys.savepoint(job_id)],
                args=[token, self._ttl_s, body],
            )
        return bool(taken)

    def load(self, job_id: str) -> bytes | None:
        with translate_redis_errors():
            body: Any = self._redis.get(redis_keys.savepoint(job_id))
        return None if body is None else bytes(body)
