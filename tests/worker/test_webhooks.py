"""Webhooks, from the outbox to real receivers."""

from __future__ import annotations

import email.utils
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from standardwebhooks.webhooks import WebhookVerificationError

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord, Webhook, WebhookEvent
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, Delivery, DeliveryHistory, State
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.worker import webhook_sender
from panoweave.worker.webhook_http import Response
from panoweave.worker.webhook_sender import PAUSES_S, WebhookDispatcher, outcome
from tests.jobs.samples import WEBHOOK, new_record, progress, result_of, start_job
from tests.receivers import (
    Behaviour,
    Receiver,
    answer,
    be_silent,
    drip,
    never_end,
    receiving,
    self_signed,
)


@pytest.fixture
def here(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_test_targets": True})


@pytest.fixture
def store(redis: Redis, here: Settings) -> JobStore:
    return JobStore(redis, here)


@pytest.fixture
def deliveries(redis: Redis, here: Settings) -> Deliveries:
    return Deliveries(redis, here)


@pytest.fixture
def secret(redis: Redis) -> str:
    return WebhookSecrets(redis).create("default").secret.get_secret_value()


@pytest.fixture
def dispatcher(
    redis: Redis,
    object_store: ObjectStore,
    here: Settings,
    secret: str,  # noqa: ARG001
) -> WebhookDispatcher:
    return WebhookDispatcher(redis, object_store, here)


def post(
    store: JobStore, url: str, *events: WebhookEvent, tenant: str = "default", **metadata: Any
) -> JobRecord:
    webhook = Webhook(url=url, events=events or WEBHOOK.events)
    record = new_record(prompt="a secret garden", tenant=tenant, metadata=metadata)
    return store.create(record.model_copy(update={"webhook": webhook}))


def succeed(store: JobStore, record: JobRecord) -> JobRecord:
    started = start_job(store, record.id, "worker-1")
    assert started.token is not None
    store.report(record.id, started.token, progress(3))
    return store.succeed(record.id, started.token, result_of(started))


def deliver_all(dispatcher: WebhookDispatcher, deliveries: Deliveries) -> None:
    for delivery in deliveries.claim(100, 60):
        dispatcher.deliver(delivery)


def only(deliveries: Deliveries, record: JobRecord) -> DeliveryHistory:
    (history,) = deliveries.of(record.id)
    return history


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
    data = message["data"]
    assert (data["id"], data["status"], data["metadata"]) == (record.id, "succeeded", {"order": 7})
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
        deliver_all(dispatcher, deliveries)
    assert len(receiver.received) == 1
    history = only(deliveries, record)
    assert (history.tries[0].status, history.tries[0].error) == (status, None)
    assert history.delivery.state is state
    if pause_s is None:
        assert history.next_try_at is None
    else:
        assert history.next_try_at is not None
        assert history.next_try_at.timestamp() - time.time() == pytest.approx(pause_s, abs=2)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_host_header_has_the_port(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, host: str
) -> None:
    with receiving(host=host) as receiver:
        succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    (received,) = receiver.received
    assert received.headers["Host"] == urlsplit(receiver.url).netloc


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


def test_a_redirect_is_not_followed(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries
) -> None:
    with receiving() as other, receiving(answer(307, Location=other.url)) as receiver:
        succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    assert (len(receiver.received), len(other.received)) == (1, 0)


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [(never_end, 200, None), (drip, None, "timeout"), (be_silent, None, "timeout")],
)
def test_no_receiver_keeps_a_sender(
    dispatcher: WebhookDispatcher,
    store: JobStore,
    deliveries: Deliveries,
    behaviour: Behaviour,
    status: int | None,
    error: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer without end, one that drips, and none."""
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 1.0)
    with receiving(behaviour) as receiver:
        record = succeed(store, post(store, receiver.url))
        begun = time.monotonic()
        deliver_all(dispatcher, deliveries)
        assert time.monotonic() - begun < 3
    (tried,) = only(deliveries, record).tries
    assert (tried.status, tried.error) == (status, error)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:9/", "connection_failed"),
        ("http://no-such-host.invalid/", "unknown_host"),
        ("http://a..b/", "unknown_host"),
    ],
)
def test_why_there_was_no_answer_is_remembered(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, url: str, error: str
) -> None:
    record = succeed(store, post(store, url))
    deliver_all(dispatcher, deliveries)
    history = only(deliveries, record)
    assert (history.tries[0].status, history.tries[0].error) == (None, error)
    assert history.delivery.state is State.PENDING


@pytest.mark.parametrize(
    ("named", "is_trusted", "error"),
    [
        ("IP:127.0.0.1", True, None),
        ("IP:127.0.0.1", False, "tls_failed"),
        ("DNS:another.example", True, "tls_failed"),
    ],
    ids=["of an operator's authority", "of nobody known", "of somebody else"],
)
def test_a_receiver_must_be_who_its_certificate_says(
    redis: Redis,
    object_store: ObjectStore,
    here: Settings,
    secret: str,
    store: JobStore,
    deliveries: Deliveries,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    is_trusted: bool,
    error: str | None,
) -> None:
    tls, certificate = self_signed(tmp_path, named)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    dispatcher = WebhookDispatcher(redis, object_store, here)
    with receiving(tls=tls) as receiver:
        receiver.secret = secret
        record = succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    history = only(deliveries, record)
    assert history.tries[0].error == error
    assert [each.payload["type"] for each in receiver.received if each.payload] == (
        [] if error else ["panorama.succeeded"]
    )


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
    """Eight tries of one id, 5 s to 14 h apart; then it is kept for whoever asks."""
    with receiving(answer(500)) as receiver:
        record = succeed(store, post(store, receiver.url))
        pauses: list[float] = []
        while True:
            deliver_all(dispatcher, deliveries)
            history = only(deliveries, record)
            if history.next_try_at is None:
                break
            pauses.append(history.next_try_at.timestamp() - history.tries[-1].at.timestamp())
            redis.zadd(redis_keys.OUTBOX, {history.delivery.id: 0})  # as if that time had passed
        assert pauses == pytest.approx([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400], abs=2)
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
    with receiving(answer(500)) as receiver:
        record = succeed(store, post(store, receiver.url, "panorama.progress"))
        deliver_all(dispatcher, deliveries)
    assert only(deliveries, record).delivery.state is State.DEAD


def test_retry_after_may_be_a_date(deliveries: Deliveries, store: JobStore) -> None:
    store.request_cancel(post(store, "https://example.com/").id)
    (delivery,) = deliveries.claim(1, 60)
    later = email.utils.formatdate(time.time() + 900, usegmt=True)
    state, pause_s = outcome(delivery, Response(503, later))
    assert state is State.PENDING
    assert pause_s == pytest.approx(900, abs=2)
    far = email.utils.formatdate(time.time() + 10**7, usegmt=True)
    assert outcome(delivery, Response(503, far))[1] == webhook_sender.MAX_RETRY_AFTER_S
    for neither_later in ("0", "\u00b2", "soon"):
        assert outcome(delivery, Response(503, neither_later))[1] == PAUSES_S[0]


@contextmanager
def running(dispatcher: WebhookDispatcher) -> Iterator[None]:
    stopping = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def wait_for(receiver: Receiver, count: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while len(receiver.received) < count:
        assert time.monotonic() < deadline, f"{len(receiver.received)} of {count}"
        time.sleep(0.02)


def test_a_receiver_that_never_answers_keeps_no_other_waiting(
    dispatcher: WebhookDispatcher, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 2.0)
    with receiving(be_silent) as silent, receiving() as good, running(dispatcher):
        for _ in range(60):
            store.request_cancel(post(store, silent.url).id)
        wait_for(silent, webhook_sender.SENDERS_A_HOST, 5)
        for _ in range(20):
            store.request_cancel(post(store, good.url).id)
        wait_for(good, 20, 1.5)


@contextmanager
def silent_addresses(count: int) -> Iterator[list[str]]:
    """Addresses of loopback that take connections and never answer."""
    with socket.create_server(("0.0.0.0", 0), backlog=count) as listener:
        port = listener.getsockname()[1]
        yield [f"http://127.0.1.{last + 1}:{port}/" for last in range(count)]


def test_a_tenants_silent_addresses_keep_no_other_tenant_waiting(
    dispatcher: WebhookDispatcher, store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 4.0)
    WebhookSecrets(redis).create("another")
    with silent_addresses(150) as addresses, receiving() as good, running(dispatcher):
        for address in addresses:
            store.request_cancel(post(store, address).id)
        for _ in range(20):
            store.request_cancel(post(store, good.url, tenant="another").id)
        wait_for(good, 20, 2)
        redis.delete(redis_keys.OUTBOX)  # what is left need not be tried


def test_a_host_that_is_silent_to_one_tenant_is_not_so_to_all(
    dispatcher: WebhookDispatcher, store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a host answers may depend on the path, as it does at hosts of many customers."""
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 2.0)
    WebhookSecrets(redis).create("another")

    def answer_others(handler: BaseHTTPRequestHandler) -> None:
        (be_silent if handler.path == "/silent" else answer(200))(handler)

    with receiving(answer_others) as host, running(dispatcher):
        silent = host.url.replace("/hook", "/silent")
        for _ in range(60):
            store.request_cancel(post(store, silent).id)
        wait_for(host, webhook_sender.SENDERS_A_HOST, 5)
        time.sleep(2.2)  # by now it is known to be silent
        before = len(host.received)
        for _ in range(10):
            store.request_cancel(post(store, host.url, tenant="another").id)
        wait_for(host, before + 10, 1.5)


def test_two_dispatchers_deliver_each_once(
    redis: Redis,
    object_store: ObjectStore,
    here: Settings,
    dispatcher: WebhookDispatcher,
    store: JobStore,
) -> None:
    with (
        receiving() as receiver,
        running(dispatcher),
        running(WebhookDispatcher(redis, object_store, here)),
    ):
        for _ in range(60):
            store.request_cancel(post(store, receiver.url).id)
        wait_for(receiver, 60, 20)
        time.sleep(0.5)
    ids = [each.headers["webhook-id"] for each in receiver.received]
    assert len(ids) == len(set(ids)) == 60


def test_a_dispatcher_outlives_trouble_of_its_own(
    dispatcher: WebhookDispatcher, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Deliveries.claim
    failures = iter([RuntimeError("once")])

    def fail_first(self: Deliveries, *arguments: Any) -> list[Delivery]:
        for failure in failures:
            raise failure
        return claim(self, *arguments)

    monkeypatch.setattr(Deliveries, "claim", fail_first)
    monkeypatch.setattr(webhook_sender, "REDIS_WAIT_S", 0.05)
    with receiving() as receiver, running(dispatcher):
        store.request_cancel(post(store, receiver.url).id)
        wait_for(receiver, 1, 5)
