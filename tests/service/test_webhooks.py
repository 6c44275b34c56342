"""Requests with a webhook, and reading and repeating its deliveries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.deliveries import Deliveries, State, Try
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.jobs.samples import progress, result_of, start_job
from tests.service.checks import at_fault, problem

URL = "https://example.com/hook"
TRIED = Try(at=datetime(2026, 11, 26, tzinfo=UTC), took_s=15.0, error="timeout")


@pytest.fixture
def deliveries(redis: Redis, settings: Settings) -> Deliveries:
    return Deliveries(redis, settings)


@pytest.fixture
def api_with_secret(api: httpx.Client, redis: Redis) -> httpx.Client:
    WebhookSecrets(redis).create("default")
    return api


def post(api: httpx.Client, **webhook: object) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill", "webhook": webhook})


def ended(api: httpx.Client, **webhook: object) -> str:
    answer = post(api, url=URL, **webhook)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    api.post(f"/panoramas/{job_id}/cancel")
    return job_id


def deliveries_of(api: httpx.Client, job_id: str) -> dict[str, Any]:
    body: dict[str, Any] = api.get(f"/panoramas/{job_id}/deliveries").json()
    return body


def test_what_is_asked_for_is_kept_and_due(
    api_with_secret: httpx.Client, deliveries: Deliveries
) -> None:
    job_id = ended(api_with_secret)
    body = deliveries_of(api_with_secret, job_id)
    assert body["url"] == URL
    assert body["events"] == ["panorama.succeeded", "panorama.failed", "panorama.cancelled"]
    (item,) = body["items"]
    (due,) = deliveries.claim(10, 60)
    assert (item["id"], item["type"], item["state"]) == (due.id, "panorama.cancelled", "pending")
    assert item["tries"] == []


def test_every_try_can_be_read(api_with_secret: httpx.Client, deliveries: Deliveries) -> None:
    job_id = ended(api_with_secret)
    (due,) = deliveries.claim(10, 60)
    deliveries.settle(due.id, TRIED, State.PENDING, 300)
    (item,) = deliveries_of(api_with_secret, job_id)["items"]
    assert item["tries"] == [
        {"at": "2026-11-26T00:00:00.000Z", "took_s": 15.0, "status": None, "error": "timeout"}
    ]
    assert item["next_try_at"] > item["happened_at"]


def test_what_was_given_up_is_sent_again(
    api_with_secret: httpx.Client, deliveries: Deliveries
) -> None:
    job_id = ended(api_with_secret)
    (due,) = deliveries.claim(10, 60)
    redeliver = f"/panoramas/{job_id}/deliveries/redeliver"
    deliveries.settle(due.id, TRIED, State.DEAD)
    answer = api_with_secret.post(redeliver)
    assert answer.status_code == 202
    assert answer.json()["items"][0]["state"] == "pending"
    (again,) = deliveries.claim(10, 60)
    assert again.id == due.id

    deliveries.settle(due.id, TRIED, State.DELIVERED)
    assert api_with_secret.post(redeliver).json()["items"][0]["state"] == "delivered"
    named = api_with_secret.post(redeliver, params={"id": due.id})
    assert named.json()["items"][0]["state"] == "pending"
    refused = problem(
        api_with_secret.post(redeliver, params={"id": [due.id, "whk_other"]}), 422, "invalid_params"
    )
    assert refused["errors"][0]["field"] == "id"


def test_progress_that_was_given_up_is_sent_again_by_its_id_alone(
    api_with_secret: httpx.Client, deliveries: Deliveries, store: JobStore
) -> None:
    webhook = {"url": URL, "events": ["panorama.progress", "panorama.succeeded"]}
    body = {"prompt": "a hill", "webhook": webhook}
    job_id = api_with_secret.post("/panoramas", json=body).json()["id"]
    record = start_job(store, job_id, "worker-1")
    assert record.token is not None
    store.report(job_id, record.token, progress(1))
    store.succeed(job_id, record.token, result_of(record))
    for each in deliveries.claim(10, 60):
        deliveries.settle(each.id, TRIED, State.DEAD)
    redeliver = f"/panoramas/{job_id}/deliveries/redeliver"
    first, end = api_with_secret.post(redeliver).json()["items"]
    assert (first["type"], first["state"]) == ("panorama.progress", "dead")
    assert (end["type"], end["state"]) == ("panorama.succeeded", "pending")
    first, _ = api_with_secret.post(redeliver, params={"id": first["id"]}).json()["items"]
    assert first["state"] == "pending"


def test_without_a_webhook_there_are_no_deliveries(api: httpx.Client, store: JobStore) -> None:
    job_id = api.post("/panoramas", json={"prompt": "a hill"}).json()["id"]
    record = start_job(store, job_id, "worker-1")
    assert record.token is not None
    store.succeed(job_id, record.token, result_of(record))
    assert deliveries_of(api, job_id) == {"url": None, "events": [], "items": []}
    redeliver = api.post(f"/panoramas/{job_id}/deliveries/redeliver")
    assert (redeliver.status_code, redeliver.json()["items"]) == (202, [])


def test_what_does_not_exist_is_not_found(api: httpx.Client) -> None:
    absent = "/panoramas/pano_00000000000000000000000000/deliveries"
    problem(api.get(absent), 404, "not_found")
    problem(api.post(f"{absent}/redeliver"), 404, "not_found")


@pytest.mark.parametrize(
    ("webhook", "field", "legal"),
    [
        ({}, "webhook.url", "text of 1 to 2,048 characters"),
        ({"url": "http://example.com/"}, "webhook.url", "https://host/path"),
        ({"url": "https://a:b@example.com/"}, "webhook.url", "without user, password"),
        ({"url": "https://169.254.169.254/"}, "webhook.url", "a public host"),
        ({"url": URL, "events": "AAA"}, "webhook.events", "a list of the events"),
        ({"url": URL, "events": []}, "webhook.events", "panorama.succeeded"),
        ({"url": URL, "events": ["succeeded"]}, "webhook.events.0", "'panorama.failed'"),
        ({"url": URL, "events": ["panorama.failed"] * 2}, "webhook.events", "each named once"),
        ({"url": URL, "secret": "x"}, "webhook.secret", "the fields url, events"),
    ],
)
def test_a_webhook_that_can_never_be_sent_is_refused(
    api_with_secret: httpx.Client, webhook: dict[str, object], field: str, legal: str
) -> None:
    wrong = at_fault(post(api_with_secret, **webhook))
    assert wrong["field"] == field
    assert legal in wrong["legal"]


def test_nothing_is_promised_that_could_not_be_signed(api: httpx.Client) -> None:
    wrong = at_fault(post(api, url=URL))
    assert wrong["field"] == "webhook"
    assert "panoweave webhook-secrets create --tenant default" in wrong["legal"]


def test_a_batch_has_a_webhook_of_its_own(api_with_secret: httpx.Client) -> None:
    body = {"prompt": "a hill", "n": 2, "webhook": {"url": URL}}
    first, second = api_with_secret.post("/panoramas", json=body).json()["items"]
    for item in (first, second):
        api_with_secret.post(f"/panoramas/{item['id']}/cancel")
    shown = deliveries_of(api_with_secret, first["id"])
    assert shown["events"][-1] == "batch.ended"
    cancelled, of_batch = shown["items"]
    assert (cancelled["type"], of_batch["type"]) == ("panorama.cancelled", "batch.ended")
    assert deliveries_of(api_with_secret, second["id"])["items"][-1] == of_batch
    again = api_with_secret.post(
        f"/panoramas/{second['id']}/deliveries/redeliver", params={"id": of_batch["id"]}
    )
    assert again.status_code == 202


def test_a_batch_has_the_events_that_were_asked_for(api_with_secret: httpx.Client) -> None:
    webhook = {"url": URL, "events": ["batch.ended"]}
    body = {"prompt": "a hill", "n": 2, "webhook": webhook}
    (first, second) = api_with_secret.post("/panoramas", json=body).json()["items"]
    for item in (first, second):
        api_with_secret.post(f"/panoramas/{item['id']}/cancel")
    (only,) = deliveries_of(api_with_secret, first["id"])["items"]
    assert only["type"] == "batch.ended"


def test_one_panorama_is_no_batch(api_with_secret: httpx.Client) -> None:
    error = at_fault(post(api_with_secret, url=URL, events=["batch.ended"]))
    assert (error["field"], error["legal"]) == ("webhook.events", "batch.ended with n above 1")
