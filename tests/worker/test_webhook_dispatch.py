"""The dispatcher at work: several receivers, tenants and dispatchers at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, Delivery
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.worker import webhook_sender
from panoweave.worker.webhook_sender import Target, WebhookDispatcher
from tests.processes import wait_until
from tests.receivers import (
    Receiver,
    answer,
    be_silent_until,
    receiving,
)
from tests.worker.outbox import post


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


@contextmanager
def set_at_last(event: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()


def wait_for(receiver: Receiver, count: int) -> None:
    def explain() -> str:
        return f"{len(receiver.received)} of {count}"

    wait_until(lambda: len(receiver.received) >= count, 30, explain)


def test_a_receiver_that_never_answers_keeps_no_other_waiting(
    dispatcher: WebhookDispatcher, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 600.0)
    released = threading.Event()
    with receiving(be_silent_until(released)) as silent, receiving() as good:
        for _ in range(60):  # all before the first is given up
            store.request_cancel(post(store, silent.url).id)
        with running(dispatcher), set_at_last(released):
            wait_for(silent, webhook_sender.SENDERS_A_HOST)
            for _ in range(20):
                store.request_cancel(post(store, good.url).id)
            wait_for(good, 20)


@contextmanager
def silent_addresses(count: int) -> Iterator[list[str]]:
    """Addresses of loopback that take connections and never answer."""
    with socket.create_server(("0.0.0.0", 0), backlog=count) as listener:
        port = listener.getsockname()[1]
        yield [f"http://127.0.1.{last + 1}:{port}/" for last in range(count)]


def test_a_tenants_silent_addresses_keep_no_other_tenant_waiting(
    dispatcher: WebhookDispatcher, store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 600.0)
    WebhookSecrets(redis).create("another")
    with (
        receiving() as good,
        running(dispatcher),
        silent_addresses(150) as addresses,  # closed first: it ends the senders
    ):
        for address in addresses:
            store.request_cancel(post(store, address).id)
        for _ in range(20):
            store.request_cancel(post(store, good.url, tenant="another").id)
        wait_for(good, 20)
        redis.delete(redis_keys.OUTBOX)  # what is left need not be tried


def test_tenants_that_hold_all_shared_senders_keep_no_other_tenant_waiting(
    dispatcher: WebhookDispatcher, store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 600.0)
    held = [32, 16, 8, 4, 2, 1, 1]  # of one after the other; each leaves half of what is free
    assert sum(held) == webhook_sender.SENDERS
    WebhookSecrets(redis).create("another")
    with (
        receiving() as good,
        running(dispatcher),
        silent_addresses(webhook_sender.SENDERS) as addresses,  # closed first: it ends the senders
    ):
        unused = iter(addresses)
        for number, count in enumerate(held):
            WebhookSecrets(redis).create(f"flood-{number}")
            for address in islice(unused, count):
                store.request_cancel(post(store, address, tenant=f"flood-{number}").id)
            wait_until(lambda: sum(dispatcher._busy.values()) == sum(held[: number + 1]), 30)  # noqa: B023
        store.request_cancel(post(store, good.url, tenant="another").id)
        wait_for(good, 1)


def test_a_host_that_is_silent_to_one_tenant_is_not_so_to_all(
    dispatcher: WebhookDispatcher, store: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a host answers may depend on the path, as it does at hosts of many customers."""
    monkeypatch.setattr(webhook_sender, "DEADLINE_S", 2.0)
    monkeypatch.setattr(webhook_sender, "_SILENT_HOST_BUSY_S", 600.0)
    WebhookSecrets(redis).create("another")
    answered, released = list[str](), threading.Event()

    def answer_others(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/silent":
            be_silent_until(released)(handler)
        else:
            answered.append(handler.path)
            answer(200)(handler)

    with receiving(answer_others) as host, running(dispatcher), set_at_last(released):
        silent = host.url.replace("/hook", "/silent")
        for _ in range(60):
            store.request_cancel(post(store, silent).id)
        known = Target("default", urlsplit(host.url).netloc)
        wait_until(lambda: known in dispatcher._silent, 30)
        for _ in range(10):
            store.request_cancel(post(store, host.url, tenant="another").id)
        wait_until(lambda: len(answered) == 10, 30)


def test_two_dispatchers_deliver_each_once(
    redis: Redis,
    object_store: ObjectStore,
    webhook_settings: Settings,
    dispatcher: WebhookDispatcher,
    store: JobStore,
) -> None:
    with (
        receiving() as receiver,
        running(dispatcher),
        running(WebhookDispatcher(redis, object_store, webhook_settings)),
    ):
        for _ in range(60):
            store.request_cancel(post(store, receiver.url).id)
        wait_for(receiver, 60)
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
        wait_for(receiver, 1)
