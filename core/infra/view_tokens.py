"""Short-lived tokens that stand in a URL, where a browser cannot send an API key.

Redis holds a digest of each, with the tenant and the API key that asked for it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any, Final, NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors

TTL_S: Final = 300

_TOKEN = re.compile(r"pwv_[A-Za-z0-9_-]{43}")


class TokenHolder(NamedTuple):
    tenant: str
    key_id: str  # "" for an anonymous caller


class ViewTokens:
    """Raises StoreUnavailable while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def create(self, holder: TokenHolder, ttl_s: int = TTL_S) -> str:
        token = f"pwv_{secrets.token_urlsafe(32)}"
        with translate_redis_errors():
            self._redis.set(_key(token), f"{holder.tenant} {holder.key_id}", ex=ttl_s)
        return token

    def find(self, token: str) -> TokenHolder | None:
        """None for a token that is malformed, unknown or expired, or whose API key was revoked."""
        if not _TOKEN.fullmatch(token):
            return None
        with translate_redis_errors():
            value: Any = self._redis.get(_key(token))
            if value is None:
                return None
            tenant, _, key_id = value.decode().partition(" ")
            if key_id and not self._redis.hexists(redis_keys.API_KEYS, key_id):
                return None
        return TokenHolder(tenant, key_id)


def _key(token: str) -> str:
    return redis_keys.view_token(hashlib.sha256(token.encode()).hexdigest())
