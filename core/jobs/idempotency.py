"""Idempotency keys: a request that is sent several times with one key is carried out once."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs.errors import NotFound, OtherRequest, StillInFlight

_TTL_S: Final = 24 * 3_600
# After this time a request whose process died is carried out again. One that only takes longer runs
# twice at once then: both create the same job, whose id is remembered.
_LEASE_MS: Final = 10_000


class Begun:
    """A request to carry out now; or one that was carried out before, if `answer` is set."""

    def __init__(self, job_id: str, answer: str | None) -> None:
        self.job_id = job_id
        self.answer = answer


class Idempotency:
    """Remembers requests by their idempotency keys for 24 hours."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = register_script(redis, __package__, "idempotency.lua")

    def owner(self, tenant: str, key_id: str, key: str) -> str:
        """The tenant; or the API key, which owned the keys of requests before version 0.3."""
        by_api_key = redis_keys.idempotency(key_id, _digest(key))
        with translate_redis_errors():
            return key_id if self._redis.exists(by_api_key) else tenant

    def begin(self, owner: str, key: str, fingerprint: str, job_id: str) -> Begun:
        """Raises OtherRequest, StillInFlight, or NotFound if its job was deleted since.

        `owner`: who sent the key. `job_id`: for the job that the request creates, unless an earlier
        try that was cut short has chosen one.
        """
        outcome, text = self._call(owner, key, "begin", fingerprint, job_id, _LEASE_MS, _TTL_S)
        match outcome:
            case "mismatch":
                raise OtherRequest
            case "in_flight":
                raise StillInFlight
            case "deleted":
                raise NotFound(text)
            case "answered":
                return Begun(job_id, text)
        return Begun(text, None)

    def finish(self, owner: str, key: str, answer: str) -> None:
        """From now on this is the answer to the request."""
        self._call(owner, key, "finish", answer, _TTL_S)

    def release(self, owner: str, key: str) -> None:
        """There was no answer: the same request may be carried out again, for the same job."""
        self._call(owner, key, "release")

    def forget(self, owner: str, key: str) -> None:
        """Nothing was created: the next request with this key counts as the first."""
        self._call(owner, key, "forget")

    def _call(self, owner: str, key: str, *arguments: str | int) -> tuple[str, str]:
        name = redis_keys.idempotency(owner, _digest(key))
        with translate_redis_errors():
            answer: Any = self._script(keys=[name], args=arguments)
        outcome, text = answer
        return outcome.decode(), text.decode()


def _digest(key: str) -> str:
    """A client's key may be long, and hold anything."""
    return hashlib.sha256(key.encode()).hexdigest()
