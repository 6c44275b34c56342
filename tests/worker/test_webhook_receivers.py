"""Webhooks to receivers that redirect, keep silent, or are not who they say."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, State
from panoweave.worker import webhook_sender
from panoweave.worker.webhook_sender import WebhookDispatcher
from tests.receivers import (
    Behaviour,
    answer,
    be_silent,
    drip,
    never_end,
    receiving,
    self_signed,
)
from tests.worker.outbox import deliver_all, only, post, succeed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_host_header_has_the_port(
    dispatcher: WebhookDispatcher, store: JobStore, deliveries: Deliveries, host: str
) -> None:
    with receiving(host=host) as receiver:
        succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    (received,) = receiver.received
    assert received.headers["Host"] == urlsplit(receiver.url).netloc


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
    """An answer without end, one that drips, and none. Who waits for their ends, after a minute at
    least, sees a connection that was closed."""
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 1.0)
    with receiving(behaviour) as receiver:
        record = succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
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
    webhook_settings: Settings,
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
    dispatcher = WebhookDispatcher(redis, object_store, webhook_settings)
    with receiving(tls=tls) as receiver:
        receiver.secret = secret
        record = succeed(store, post(store, receiver.url))
        deliver_all(dispatcher, deliveries)
    history = only(deliveries, record)
    assert history.tries[0].error == error
    assert [each.payload["type"] for each in receiver.received if each.payload] == (
        [] if error else ["panorama.succeeded"]
    )
