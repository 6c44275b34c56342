"""Pings: webhooks that an operator sends to try an address, without a panorama.

They take the way of every other webhook, so that what a ping shows holds for those too: the janitor
sends them, from its network, with its checks of addresses and the tenant's secrets.
"""

from __future__ import annotations

import secrets
from typing import Final

from redis import Redis

from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import PING
from panoweave.core.webhooks.deliveries import Deliveries, DeliveryHistory

ID_PATTERN: Final = "^ping_[0-9a-f]{32}$"
KEPT_S: Final = 3_600


class Pings:
    """Raises StoreUnavailable if Redis is away."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._deliveries = Deliveries(redis, settings)
        self._script = register_script(redis, "panoweave.core.jobs", "outbox.lua", "ping.lua")

    def create(self, tenant: str, url: str) -> str:
        """Its id, which is also its delivery's."""
        ping_id = f"ping_{secrets.token_hex(16)}"
        with translate_redis_errors():
            self._script(args=[ping_id, tenant, PING, url, KEPT_S])
        return ping_id

    def find(self, ping_id: str) -> DeliveryHistory | None:
        """None once it is forgotten."""
        return next(iter(self._deliveries.of(ping_id)), None)
