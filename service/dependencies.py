"""The clients that every request shares: opened at start-up, injected by FastAPI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from botocore.exceptions import BotoCoreError
from fastapi import Depends, Request
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.breaker import Breaker
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.s3_client import SHORT_WAITS
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.view_tokens import ViewTokens
from panoweave.core.jobs.idempotency import Idempotency
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.rates import Rates
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries
from panoweave.core.webhooks.pings import Pings
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.model_files import ModelFiles
from panoweave.service.panoramas.subscriptions import JobSubscriptions

# An HTTP client is waiting. A Redis that is up answers within milliseconds.
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
    pings: Pings
    webhook_secrets: WebhookSecrets
    rates: Rates
    view_tokens: ViewTokens
    model_files: ModelFiles


@contextmanager
def open_context(settings: Settings) -> Iterator[Context]:
    """Connect lazily, so that the API starts and reports the fault while Redis is away."""
    objects = ObjectStore(settings, SHORT_WAITS, Breaker(BotoCoreError))
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
                Pings(redis, settings),
                WebhookSecrets(redis),
                Rates(redis, settings),
                ViewTokens(redis),
                ModelFiles(settings),
            )
    finally:
        objects.close()


# Coroutines: FastAPI runs plain functions on a thread, and a hung server may hold them all.
async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _subscriptions(request: Request) -> JobSubscriptions:
    subscriptions: JobSubscriptions = request.app.state.subscriptions
    return subscriptions


ContextDep = Annotated[Context, Depends(_context)]
SubscriptionsDep = Annotated[JobSubscriptions, Depends(_subscriptions)]
