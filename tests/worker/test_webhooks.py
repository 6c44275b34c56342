"""Webhooks, from the outbox to real receivers."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import get_args

import pytest
from redis import Redis
from standardwebhooks.webhooks import WebhookVerificationError

from panoweave.core.infra import redis_keys
from panoweave.core.jobs.record import BATCH_ENDED, Webhook, WebhookEvent, batch_id_of
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, State
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.webhooks.schemas import BatchMessage, WebhookMessage
from panoweave.worker import webhook_sender
from panoweave.worker.telemetry.metrics import JANITOR
from panoweave.worker.webhook_http import Response
from panoweave.worker.webhook_sender import PAUSES_S, WebhookDispatcher, outcome
from tests.jobs.samples import FAILURE, new_record, start_job
from tests.receivers import (
    Behaviour,
    answer,
    receiving,
)
from tests.worker.outbox import deliver_all, only, post, succeed


def counted_attempts() -> Counter[str]:
    return Counter(
        {
            sample.labels["outcome"]: int(sample.value)
            for metric in JANITOR.collect()
            for sample in metric.samples
            if sample.name == "panoweave_webhook_attempts_total"
        }
    )


def test_a_receiver_can_verify_its_webhooks(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        record = succeed(store, post(store, receiver.url, order=7))
        deliver_all(dispatcher, deliveries)
    (received,) = receiver.received
    message = received.verified(secret)
    assert message["type"] == "panorama.succeeded"
    assert datetime.fromisoformat(message["timestamp"]) <= datetime.now(UTC)
    for written in (message["timestamp"], message["data"]["created_at"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
    data = message["data"]
    assert (data["id"], data["status"], data["metadata"]) == (record.id, "succeeded", {"order": 7})
    assert data["model"] == record.model == "embedded"
    assert data["result"]["sha256"] == "00" * 32
    assert "X-Amz-Signature" in data["result"]["image_url"]
    assert b"garden" not in received.body
    assert received.headers["Content-Type"] == "application/json"
    assert only(deliveries, record).delivery.state is State.DELIVERED


def test_what_was_not_signed_so_is_refused_by_the_receiver(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries
) -> None:
    with receiving() as receiver:
        succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    other = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXI="
    with pytest.raises(WebhookVerificationError):
        receiver.received[0].verified(other)


def test_while_a_secret_is_replaced_both_sign(
    dispatcher: WebhookDispatcher,
    store: JobStore,
    deliveries: Deliveries,
    redis: Redis,
    secret: str,
) -> None:
    secrets = WebhookSecrets(redis)
    new = secrets.create("default").secret.get_secret_value()
    with receiving() as receiver:
        succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
        secrets.revoke("default", secrets.of("default")[1].id)
        succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    both, new_alone = receiver.received
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    assert both.verified(secret) == both.verified(new)
    new_alone.verified(new)
    with pytest.raises(WebhookVerificationError):
        new_alone.verified(secret)


def test_every_event_says_what_had_happened(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    """Also where it is delivered late, and the panorama has ended since."""
    with receiving() as receiver:
        asked = post(
            store,
            receiver.url,
            "panorama.started",
            "panorama.progress",
            "panorama.succeeded",
        )
        succeed(store, asked)
        deliver_all(dispatcher, deliveries)
    said = [each.verified(secret) for each in receiver.received]
    messages = {each["type"]: each["data"] for each in said}
    assert messages["panorama.started"]["status"] == "running"
    assert messages["panorama.progress"]["status"] == "running"
    assert messages["panorama.succeeded"]["status"] == "succeeded"
    assert messages["panorama.progress"]["progress"]["step"] == 3
    assert {each["model"] for each in messages.values()} == {"embedded"}


def test_the_openapi_document_describes_all_that_is_sent(
    dispatcher: WebhookDispatcher,
    store: JobStore,
    deliveries: Deliveries,
    redis: Redis,
    secret: str,
) -> None:
    with receiving() as receiver:
        wanted = get_args(WebhookEvent)
        succeed(store, post(store, receiver.url, *wanted))
        store.request_cancel(post(store, receiver.url, *wanted).id)
        failed = start_job(store, post(store, receiver.url, *wanted).id)
        assert failed.token is not None
        store.fail(failed.id, failed.token, FAILURE)
        webhook = Webhook(url=receiver.url, events=wanted)
        late = new_record().model_copy(update={"webhook": webhook, "start_within_s": 1})
        redis.hset(redis_keys.job(store.create(late).id), "start_by", 1)
        store.miss_start(late.id)
        only = new_record().model_copy(update={"webhook": webhook})
        store.create(only.model_copy(update={"batch_id": batch_id_of(only.id)}))
        store.request_cancel(only.id)
        deliver_all(dispatcher, deliveries)
    said = [each.verified(secret) for each in receiver.received]
    assert {each["type"] for each in said} == set(wanted)
    for each in said:
        kind = BatchMessage if each["type"] == BATCH_ENDED else WebhookMessage
        kind.model_validate(each, extra="forbid")


def test_the_largest_that_a_caller_may_add_fits(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, secret: str
) -> None:
    with receiving() as receiver:
        succeed(store, post(store, receiver.url, text="é" * 4_080))
        deliver_all(dispatcher, deliveries)
    assert len(receiver.received[0].body) < 20_000
    receiver.received[0].verified(secret)


REFUSALS = [
    (answer(500), 500, State.PENDING, 5),
    (answer(400), 400, State.PENDING, 5),
    (answer(429, Retry_After="700"), 429, State.PENDING, 700),
    (answer(429, Retry_After="2"), 429, State.PENDING, 5),
    (answer(503, Retry_After="soon"), 503, State.PENDING, 5),
    (answer(503, Retry_After="Mon, 01 Jan 99999999999 00:00:00 GMT"), 503, State.PENDING, 5),
    (answer(503, Retry_After="Mon, 01 Jan 0001 00:00:00 -0000"), 503, State.PENDING, 5),
    (answer(503, Retry_After="9" * 400), 503, State.PENDING, webhook_sender.MAX_RETRY_AFTER_S),
    (answer(302, Location="http://169.254.169.254/latest/meta-data/"), 302, State.PENDING, 5),
    (answer(410), 410, State.GONE, None),
]


@pytest.mark.parametrize(("behaviour", "status", "state", "pause_s"), REFUSALS)
def test_what_is_no_success_is_tried_again(
    dispatcher: WebhookDispatcher,
    store: JobStore,
    deliveries: Deliveries,
    behaviour: Behaviour,
    status: int,
    state: State,
    pause_s: int | None,
) -> None:
    with receiving(behaviour) as receiver:
        record = succeed(store, post(store, receiver.url))
        begun = time.time()
        deliver_all(dispatcher, deliveries)
        ended = time.time()
    assert len(receiver.received) == 1
    history = only(deliveries, record)
    assert (history.tries[0].status, history.tries[0].error) == (status, None)
    assert history.delivery.state is state
    if pause_s is None:
        assert history.next_try_at is None
    else:
        assert history.next_try_at is not None
        assert begun + pause_s <= history.next_try_at.timestamp() + 0.001 <= ended + pause_s + 0.002


def test_a_fault_of_ours_is_a_try_too(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    """Else it would be tried at the end of every lease, without end and without a trace."""
    with receiving() as receiver:
        record = store.request_cancel(post(store, receiver.url).id)
        redis.hset(redis_keys.job(record.id), "created_at", "never")
        deliver_all(dispatcher, deliveries)
    assert receiver.received == []
    history = only(deliveries, record)
    assert [each.error for each in history.tries] == ["internal_error"]
    assert history.next_try_at is not None


def test_a_newer_versions_webhook_is_delivered(
    dispatcher: WebhookDispatcher,
    store: JobStore,
    deliveries: Deliveries,
    redis: Redis,
    secret: str,
) -> None:
    """Its event, and the record's status and parameters, are none that this version knows."""
    with receiving() as receiver:
        record = store.request_cancel(post(store, receiver.url).id)
        params = json.loads(redis.hget(redis_keys.job(record.id), "params") or "")
        key = redis_keys.job(record.id)
        redis.hset(key, "status", "paused")
        redis.hset(key, "params", json.dumps({**params, "preset": "turbo"}))
        redis.hset(
            redis_keys.delivery(only(deliveries, record).delivery.id), "type", "panorama.paused"
        )
        deliver_all(dispatcher, deliveries)
    (received,) = receiver.received
    message = received.verified(secret)
    assert (message["type"], message["data"]["status"]) == ("panorama.paused", "paused")


def test_a_delivery_that_cannot_be_read_hides_no_other(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    with receiving() as receiver:
        broken, record = (store.request_cancel(post(store, receiver.url).id) for _ in range(2))
        redis.hset(redis_keys.delivery(only(deliveries, broken).delivery.id), "attempt", "first")
        deliver_all(dispatcher, deliveries)
    assert only(deliveries, record).delivery.state is State.DELIVERED


def test_nothing_is_sent_unsigned(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    secrets = WebhookSecrets(redis)
    secrets.revoke("default", secrets.of("default")[0].id)
    with receiving() as receiver:
        record = succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    assert receiver.received == []
    assert only(deliveries, record).tries[0].error == "no_secret"


def test_the_pauses_then_dead_then_redelivered(
    dispatcher: WebhookDispatcher,
    store: JobStore,
    deliveries: Deliveries,
    redis: Redis,
    secret: str,
) -> None:
    """Eight tries of one id, 5 s to 14 h apart; then it is kept for readers."""
    with receiving(answer(500)) as receiver:
        record = succeed(store, post(store, receiver.url))
        pauses: list[float] = []
        took_s: list[float] = []
        while True:
            deliver_all(dispatcher, deliveries)
            history = only(deliveries, record)
            if history.next_try_at is None:
                break
            tried_at = history.tries[-1].at.timestamp()
            pauses.append(history.next_try_at.timestamp() - tried_at)
            took_s.append(time.time() - tried_at)
            redis.zadd(redis_keys.OUTBOX, {history.delivery.id: 0})  # as if that time had passed
        stated = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400)
        for pause_s, at_least_s, more_s in zip(pauses, stated, took_s, strict=True):
            assert at_least_s <= pause_s + 0.001 <= at_least_s + more_s + 0.002
        assert history.delivery.state is State.DEAD
        assert len(history.tries) == len(receiver.received) == 8
        receiver.behaviours = [answer(204)]
        deliveries.redeliver([history.delivery.id])
        deliver_all(dispatcher, deliveries)
    assert only(deliveries, record).delivery.state is State.DELIVERED
    assert {each.headers["webhook-id"] for each in receiver.received} == {history.delivery.id}
    receiver.received[-1].verified(secret)


def test_progress_is_not_worth_a_second_try(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries
) -> None:
    """And no alert: what counts as dead is what an operator should redeliver."""
    before = counted_attempts()
    with receiving(answer(500)) as receiver:
        record = succeed(store, post(store, receiver.url, "panorama.progress"))
        deliver_all(dispatcher, deliveries)
        assert counted_attempts() - before == Counter({"failed": 1})
        assert only(deliveries, record).delivery.state is State.DEAD
        assert len(receiver.received) == 1


def test_an_end_that_nobody_took_counts_as_dead(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, redis: Redis
) -> None:
    before = counted_attempts()
    with receiving(answer(500)) as receiver:
        record = succeed(store, post(store, receiver.url))
        redis.hset(redis_keys.delivery(only(deliveries, record).delivery.id), "tries", 7)
        deliver_all(dispatcher, deliveries)
    assert counted_attempts() - before == Counter({"dead": 1})


def test_retry_after_may_be_a_date(deliveries: Deliveries, store: JobStore) -> None:
    store.request_cancel(post(store, "https://example.com/").id)
    (delivery,) = deliveries.claim(1, 60)
    begun = time.time()
    later = email.utils.formatdate(begun + 900, usegmt=True)  # in whole seconds
    state, pause_s = outcome(delivery, Response(503, later))
    assert state is State.PENDING
    assert 899 - (time.time() - begun) <= pause_s <= 900
    far = email.utils.formatdate(time.time() + 10**7, usegmt=True)
    assert outcome(delivery, Response(503, far))[1] == webhook_sender.MAX_RETRY_AFTER_S
    for neither_later in ("0", "\u00b2", "soon"):
        assert outcome(delivery, Response(503, neither_later))[1] == PAUSES_S[0]
