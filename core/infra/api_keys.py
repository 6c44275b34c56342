"""API keys of tenants. Redis holds a digest of each key's secret, not the secret."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import NoSuchKey, StoreUnavailable
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.stored import KeepUnknown, read_all

Scope = Literal["read", "write", "scaling", "admin"]
StoredScope = Annotated[Scope, KeepUnknown()]
SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "scaling", "admin")

# Part of the tenant's object keys and of Redis keys.
TENANT_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
TenantName = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]

_USE_NOTED_EVERY_S: Final = 60.0
_TOKEN = re.compile(r"pw_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class ApiKey(BaseModel):
    """A key as it is stored, without its secret."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    tenant: TenantName
    scopes: tuple[StoredScope, ...]  # an unknown one allows nothing
    created_at: datetime
    digest: str  # SHA-256 of the secret, hex
    label: str | None = None
    expires_at: datetime | None = None

    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def may(self, scope: Scope) -> bool:
        """`admin` includes every scope, and `write` includes `read`. `scaling` includes none."""
        held = set(self.scopes)
        return "admin" in held or scope in held or (scope == "read" and "write" in held)


class ApiKeys:
    """Raises StoreUnavailable if Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._noted: dict[str, float] = {}  # key id -> when its use was stored, monotonic

    def create(
        self,
        tenant: str,
        scopes: tuple[Scope, ...],
        *,
        label: str | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and the token that its owner sends. The token cannot be shown again."""
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        key = ApiKey(
            id=key_id,
            tenant=tenant,
            scopes=scopes,
            created_at=datetime.now(UTC),
            digest=_digest(secret),
            label=label,
            expires_at=expires_at,
        )
        with translate_redis_errors(), self._redis.pipeline() as step:
            step.hset(redis_keys.API_KEYS, key_id, key.model_dump_json())
            step.set(redis_keys.API_KEY_WAS_MADE, 1)
            # Anonymous requests that stay open ask `has_anonymous_mode_ended` now.
            step.publish(redis_keys.WAKES, redis_keys.WAKES_ALL)
            step.execute()
        return key, f"pw_{key_id}_{secret}"

    def find(self, token: str) -> ApiKey | None:
        """The key that a token belongs to, or None. An expired one belongs to none."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        with translate_redis_errors():
            text: Any = self._redis.hget(redis_keys.API_KEYS, found[1])
        key = _read(text)
        # Compared in constant time, and also if there is no such key.
        fits = hmac.compare_digest(_digest(found[2]), key.digest if key else _digest(""))
        if key is None or not fits or key.has_expired():
            return None
        self._note_use(key.id)
        return key

    def last_used(self) -> dict[str, datetime]:
        """When each key was last used, to a minute."""
        with translate_redis_errors():
            found: Any = self._redis.hgetall(redis_keys.API_KEYS_USED)
        return {
            key_id.decode(): datetime.fromtimestamp(int(at), UTC) for key_id, at in found.items()
        }

    def _note_use(self, key_id: str) -> None:
        """Once a minute for each process: most requests are reads, and would write otherwise."""
        now = time.monotonic()
        if now < self._noted.get(key_id, -math.inf) + _USE_NOTED_EVERY_S:
            return
        self._noted[key_id] = now
        with suppress(StoreUnavailable):  # a full Redis still answers reads
            self._store_use(key_id)

    def _store_use(self, key_id: str) -> None:
        with translate_redis_errors():
            self._redis.hset(redis_keys.API_KEYS_USED, key_id, int(time.time()))

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
                step.hdel(redis_keys.API_KEYS_USED, key_id)
                step.hdel(redis_keys.API_KEYS, key_id)
                *_, removed = step.execute()
            if not removed:
                raise NoSuchKey(key_id)
            # Requests that stay open ask `has_ended` now.
            self._redis.publish(redis_keys.WAKES, redis_keys.WAKES_ALL)


async def has_ended(redis: AsyncRedis, key_id: str) -> bool:
    """Whether a key was revoked or has expired."""
    with translate_redis_errors():
        key = _read(await redis.hget(redis_keys.API_KEYS, key_id))
    return key is None or key.has_expired()


async def has_anonymous_mode_ended(redis: AsyncRedis) -> bool:
    """As `ApiKeys.was_one_made`."""
    with translate_redis_errors():
        return bool(await redis.exists(redis_keys.API_KEYS, redis_keys.API_KEY_WAS_MADE))


def _read(text: Any) -> ApiKey | None:
    return next(iter(read_all(ApiKey, [text] if text else [])), None)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
