"""Pings over HTTP, up to the outbox. tests/worker/test_pings.py sends them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from panoweave.core.webhooks.deliveries import Deliveries, State, Try
from panoweave.core.webhooks.pings import KEPT_S
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.processes import wait_until
from tests.service.checks import at_fault, problem

PINGS = "/webhooks/pings"
URL = "https://example.com/hook"
TRIED = Try(at=datetime(2026, 11, 27, tzinfo=UTC), took_s=0.1, status=204)


@pytest.fixture
def admin(api: httpx.Client, redis: Redis) -> Iterator[httpx.Client]:
    _, token = ApiKeys(redis).create("ops", ("admin",))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=api.base_url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def deliveries(redis: Redis, settings: Settings) -> Deliveries:
    return Deliveries(redis, settings)


def ping(admin: httpx.Client, wait_s: int | None = None, **fields: object) -> httpx.Response:
    headers = {} if wait_s is None else {"Prefer": f"wait={wait_s}"}
    return admin.post(PINGS, json={"tenant": "ada", "url": URL, **fields}, headers=headers)


def test_a_ping_is_due_and_shows_how_it_was_answered(
    admin: httpx.Client, redis: Redis, deliveries: Deliveries
) -> None:
    WebhookSecrets(redis).create("ada")
    answer = ping(admin)
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)
    asked = answer.json()
    assert (asked["tenant"], asked["url"], asked["state"], asked["tries"]) == (
        *("ada", URL, "pending"),
        [],
    )
    (due,) = deliveries.claim(10, 60)
    assert (due.id, due.type, due.tenant, due.url) == (asked["id"], "webhook.ping", "ada", URL)
    assert 0 < redis.ttl(redis_keys.delivery(due.id)) <= KEPT_S
    deliveries.settle(due.id, TRIED, State.DELIVERED)
    shown = admin.get(f"{PINGS}/{asked['id']}").json()
    assert (shown["state"], shown["tries"][0]["status"]) == ("delivered", 204)


def test_it_is_waited_for(admin: httpx.Client, redis: Redis, deliveries: Deliveries) -> None:
    WebhookSecrets(redis).create("ada")
    early = ping(admin, wait_s=0)
    assert (early.status_code, early.headers["Preference-Applied"]) == (202, "wait=0")
    deliveries.settle(deliveries.claim(1, 60)[0].id, TRIED, State.DEAD)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ping, admin, wait_s=60)
        wait_until(lambda: redis.zcard(redis_keys.OUTBOX) == 1, 30)
        assert not asked.done()
        deliveries.settle(deliveries.claim(1, 60)[0].id, TRIED, State.DELIVERED)
        answer = asked.result(30)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=60")
    assert answer.json()["state"] == "delivered"


@pytest.mark.parametrize(
    ("fields", "field", "legal"),
    [
        ({"url": "http://example.com/"}, "url", "https://host/path"),
        ({"url": "https://169.254.169.254/"}, "url", "a public host"),
        ({"url": "https://localhost/"}, "url", "a public host"),
        ({"url": ""}, "url", "text of 1 to 2,048 characters"),
        ({"tenant": "Ada Lovelace"}, "tenant", "lower-case letters"),
        ({"tenant": "bob"}, "tenant", "panoweave webhook-secrets create --tenant bob"),
        ({"events": []}, "events", "the fields tenant, url"),
    ],
)
def test_what_could_never_be_sent_is_refused(
    admin: httpx.Client, redis: Redis, fields: dict[str, Any], field: str, legal: str
) -> None:
    WebhookSecrets(redis).create("ada")
    error = at_fault(ping(admin, **fields))
    assert error["field"] == field
    assert legal in error["legal"]
    assert not redis.exists(redis_keys.OUTBOX)


@pytest.mark.parametrize("unknown", ["ping_00000000000000000000000000000000", "ping_1", "whk_1"])
def test_what_does_not_exist_is_not_found(admin: httpx.Client, unknown: str) -> None:
    problem(admin.get(f"{PINGS}/{unknown}"), 404, "ping_not_found")
