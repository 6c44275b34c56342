"""Savepoints of running jobs, from which another attempt resumes. Their bytes are opaque here.

They are in Redis and not in S3: docs/decisions/0005-savepoints-in-redis.md. transition.lua deletes
a job's savepoint when no attempt can follow.
"""

from __future__ import annotations

from typing import Any

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.settings import Settings


class Savepoints:
    """At most one for each job, the last that was saved. It expires by itself."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        # Not longer than the record, through which a DELETE finds it.
        self._ttl_s = min(settings.savepoint_ttl_s, settings.job_ttl_s)
        self._script = register_script(redis, __package__, "savepoint.lua")

    def save(self, job_id: str, token: str, body: bytes) -> bool:
        """Whether it was stored: only the current attempt, by its token, may store one.

        Raises StoreUnavailable if Redis is away, as `load` does.
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
