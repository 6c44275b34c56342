"""What a request works with: made once at start-up, reached through FastAPI's dependencies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.idempotency import Idempotency
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.panoramas.subscriptions import Watch

# A client waits for us: Redis answers in a millisecond or is away.
_REDIS_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Context:
    settings: Settings
    redis: Redis
    store: JobStore
    queue: Queue
    objects: ObjectStore
    idempotency: Idempotency
    api_keys: ApiKeys
    deliveries: Deliveries
    webhook_secrets: WebhookSecrets


@contextmanager
def open_context(settings: Settings) -> Iterator[Context]:
    """Opens no connection yet, so the API starts, and says what is wrong, while Redis is away."""
    objects = ObjectStore(settings)
    try:
        with connect(settings, timeout_s=_REDIS_TIMEOUT_S) as redis:
            yield Context(
                settings,
                redis,
                JobStore(redis, settings),
                Queue(redis),
                objects,
                Idempotency(redis),
                ApiKeys(redis),
                Deliveries(redis, settings),
                WebhookSecrets(redis),
            )
    finally:
        objects.close()


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _watch(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


InContext = Annotated[Context, Depends(_context)]
InWatch = Annotated[Watch, Depends(_watch)]
