"""API keys of tenants. Redis holds a digest of each key's secret, not the secret."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import NoSuchKey
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.stored import KeepUnknown, read_all

Scope = Literal["read", "write", "scaling", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "scaling", "admin")

# Part of the tenant's object keys and of Redis keys.
TenantName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

_TOKEN = re.compile(r"pw_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class ApiKey(BaseModel):
    """A key as it is stored, without its secret."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    tenant: TenantName
    scopes: tuple[Annotated[Scope, KeepUnknown()], ...]  # an unknown one allows nothing
    created_at: datetime
    digest: str  # SHA-256 of the secret, hex

    def may(self, scope: Scope) -> bool:
        """`admin` includes every scope, and `write` includes `read`. `scaling` includes none."""
        held = set(self.scopes)
        return "admin" in held or scope in held or (scope == "read" and "write" in held)


class ApiKeys:
    """Raises StoreUnavailable if Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def create(self, tenant: str, scopes: tuple[Scope, ...]) -> tuple[ApiKey, str]:
        """A new key, and the token that its owner sends. The token cannot be shown again."""
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        key = ApiKey(
            id=key_id,
            tenant=tenant,
            scopes=scopes,
            created_at=datetime.now(UTC),
            digest=_digest(secret),
        )
        with translate_redis_errors(), self._redis.pipeline() as step:
            step.hset(redis_keys.API_KEYS, key_id, key.model_dump_json())
            step.set(redis_keys.API_KEY_WAS_MADE, 1)
            # Anonymous requests that stay open ask `has_anonymous_mode_ended` now.
            step.publish(redis_keys.WAKES, redis_keys.WAKES_ALL)
            step.execute()
        return key, f"pw_{key_id}_{secret}"

    def find(self, token: str) -> ApiKey | None:
        """The key that a token belongs to, or None."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        with translate_redis_errors():
            text: Any = self._redis.hget(redis_keys.API_KEYS, found[1])
        key = next(iter(read_all(ApiKey, [text] if text else [])), None)
        # Compared in constant time, and also if there is no such key.
        fits = hmac.compare_digest(_digest(found[2]), key.digest if key else _digest(""))
        return key if fits else None

    def all(self) -> list[ApiKey]:
        """Oldest first."""
        with translate_redis_errors():
            texts: Any = self._redis.hvals(redis_keys.API_KEYS)
        return sorted(read_all(ApiKey, texts), key=lambda key: key.created_at)

    def any(self) -> bool:
        with translate_redis_errors():
            return bool(self._redis.hlen(redis_keys.API_KEYS))

    def was_one_made(self) -> bool:
        """Also once the last one is revoked."""
        with translate_redis_errors():
            return bool(self._redis.exists(redis_keys.API_KEYS, redis_keys.API_KEY_WAS_MADE))

    def revoke(self, key_id: str) -> None:
        """From now on the key is refused. Raises NoSuchKey."""
        with translate_redis_errors():
            with self._redis.pipeline() as step:
                # Keys of earlier versions were made without it.
                step.set(redis_keys.API_KEY_WAS_MADE, 1)
                step.hdel(redis_keys.API_KEYS, key_id)
                _, removed = step.execute()
            if not removed:
                raise NoSuchKey(key_id)
            # Requests that stay open ask `is_revoked` now.
            self._redis.publish(redis_keys.WAKES, redis_keys.WAKES_ALL)


async def is_revoked(redis: AsyncRedis, key_id: str) -> bool:
    with translate_redis_errors():
        return not await redis.hexists(redis_keys.API_KEYS, key_id)


async def has_anonymous_mode_ended(redis: AsyncRedis) -> bool:
    """As `ApiKeys.was_one_made`."""
    with translate_redis_errors():
        return bool(await redis.exists(redis_keys.API_KEYS, redis_keys.API_KEY_WAS_MADE))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
