"""Pings, from the outbox to real receivers."""

from __future__ import annotations

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.webhooks.deliveries import Deliveries, State
from panoweave.core.webhooks.pings import Pings
from panoweave.service.webhooks.schemas import PingMessage
from panoweave.worker.telemetry.metrics import JANITOR
from panoweave.worker.webhook_sender import WebhookDispatcher
from tests.receivers import answer, receiving
from tests.worker.outbox import deliver_all


@pytest.fixture
def pings(redis: Redis, settings: Settings) -> Pings:
    return Pings(redis, settings)


def attempts() -> list[float]:
    return [
        sample.value
        for metric in JANITOR.collect()
        for sample in metric.samples
        if sample.name
        in ("panoweave_webhook_attempts_total", "panoweave_webhook_attempt_seconds_count")
    ]


def test_a_receiver_can_verify_it(
    dispatcher: WebhookDispatcher, pings: Pings, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        ping_id = pings.create("default", receiver.url)
        deliver_all(dispatcher, deliveries)
    (received,) = receiver.received
    message = PingMessage.model_validate(received.verified(secret))
    assert (message.type, message.data.id) == ("webhook.ping", ping_id)
    assert (message.data.tenant, received.headers["webhook-id"]) == ("default", ping_id)
    history = pings.find(ping_id)
    assert history is not None
    assert (history.delivery.state, history.tries[0].status) == (State.DELIVERED, 200)


def test_it_is_tried_once(
    dispatcher: WebhookDispatcher,
    pings: Pings,
    deliveries: Deliveries,
    secret: str,  # noqa: ARG001
    redis: Redis,
) -> None:
    before = attempts()
    with receiving(answer(503)) as receiver:
        ping_id = pings.create("default", receiver.url)
        deliver_all(dispatcher, deliveries)
    history = pings.find(ping_id)
    assert history is not None
    assert (history.delivery.state, history.tries[0].status) == (State.DEAD, 503)
    assert redis.zcard(redis_keys.OUTBOX) == 0
    assert attempts() == before  # no alert on webhooks that were given up


def test_addresses_are_checked_when_it_is_sent(
    redis: Redis,
    settings: Settings,
    objects: ObjectStore,
    pings: Pings,
    deliveries: Deliveries,
    secret: str,  # noqa: ARG001
) -> None:
    strict = settings.model_copy(update={"webhook_test_targets": False, "webhook_http": True})
    dispatcher = WebhookDispatcher(redis, objects, strict)
    with receiving() as receiver:
        ping_id = pings.create("default", receiver.url)
        deliver_all(dispatcher, deliveries)
    assert receiver.received == []
    history = pings.find(ping_id)
    assert history is not None
    assert (history.delivery.state, history.tries[0].error) == (State.DEAD, "target_refused")
