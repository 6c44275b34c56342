"""The secrets that sign a tenant's webhooks, as Standard Webhooks says. Redis holds the secrets
themselves: signing needs them.

A tenant may have several, and each signs every webhook. To rotate, create a new secret, give it to
the receivers, and then revoke the old one.
"""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, SecretStr
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.stored import read_all

_BYTES: Final = 32


class NoSuchSecret(LookupError):
    def __init__(self, secret_id: str) -> None:
        super().__init__(f"there is no webhook secret {secret_id}")


class WebhookSecret(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: str
    created_at: datetime
    secret: SecretStr  # whsec_ and base64


class WebhookSecrets:
    """Raises StoreUnavailable if Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def create(self, tenant: str) -> WebhookSecret:
        text = "whsec_" + base64.b64encode(secrets.token_bytes(_BYTES)).decode()
        made = WebhookSecret(
            id=secrets.token_hex(8), created_at=datetime.now(UTC), secret=SecretStr(text)
        )
        stored = json.dumps(made.model_dump(mode="json") | {"secret": text})
        with translate_redis_errors():
            self._redis.hset(redis_keys.webhook_secrets(tenant), made.id, stored)
        return made

    def of(self, tenant: str) -> list[WebhookSecret]:
        """Newest first."""
        with translate_redis_errors():
            texts: Any = self._redis.hvals(redis_keys.webhook_secrets(tenant))
        return sorted(
            read_all(WebhookSecret, texts), key=lambda secret: secret.created_at, reverse=True
        )

    def revoke(self, tenant: str, secret_id: str) -> None:
        """From now on it signs nothing. Raises NoSuchSecret."""
        with translate_redis_errors():
            if not self._redis.hdel(redis_keys.webhook_secrets(tenant), secret_id):
                raise NoSuchSecret(secret_id)
