"""Requests that say when a panorama is to be made, and how long it is kept."""

from __future__ import annotations

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.service.checks import at_fault, problem
from tests.service.steps import finish, post


def test_they_are_absent_where_they_were_not_asked_for(api: httpx.Client) -> None:
    shown = api.get(f"/panoramas/{post(api, priority=0)}").json()
    assert not shown.keys() & {"priority", "start_by", "expires_at"}


def test_they_are_shown(api: httpx.Client, store: JobStore, objects: ObjectStore) -> None:
    job_id = post(api, priority=-3, start_within_s=60, expires_in=3_600)
    shown = api.get(f"/panoramas/{job_id}").json()
    assert shown["priority"] == -3
    assert shown["start_by"] > shown["created_at"]
    assert "expires_at" not in shown
    finish(store, objects, job_id)
    ended = api.get(f"/panoramas/{job_id}").json()
    assert ended["expires_at"] > ended["finished_at"]
    (listed,) = api.get("/panoramas").json()["items"]
    assert (listed["priority"], listed["expires_at"]) == (-3, ended["expires_at"])


def test_a_higher_priority_is_next(api: httpx.Client) -> None:
    usual, high = post(api), post(api, priority=1)
    positions = [api.get(f"/panoramas/{each}").json()["queue_position"] for each in (usual, high)]
    assert positions == [1, 0]


def test_a_missed_deadline_is_an_end(api: httpx.Client, store: JobStore, redis: Redis) -> None:
    job_id = post(api, start_within_s=60)
    redis.hset(redis_keys.job(job_id), "start_by", 1)
    store.miss_start(job_id)
    shown = api.get(f"/panoramas/{job_id}", headers={"Prefer": "wait=20"}).json()
    assert (shown["status"], shown["progress"], shown["error"]) == ("expired", None, None)
    assert "event: expired" in api.get(f"/panoramas/{job_id}/events").text
    problem(api.post(f"/panoramas/{job_id}/retry"), 409, "not_failed")
    (listed,) = api.get("/panoramas", params={"status": "expired"}).json()["items"]
    assert listed["id"] == job_id
    assert api.delete(f"/panoramas/{job_id}").status_code == 204


@pytest.mark.parametrize(
    ("fields", "legal"),
    [
        ({"priority": 10}, "from -9 to 9"),
        ({"start_within_s": 0}, "from 1 to 604800"),
        ({"expires_in": 59}, "from 60 to 31536000"),
        ({"expires_in": 31_536_001}, "from 60 to 31536000"),
    ],
)
def test_their_limits_are_named(api: httpx.Client, fields: dict[str, int], legal: str) -> None:
    error = at_fault(api.post("/panoramas", json={"prompt": "a hill", **fields}))
    assert [error["field"]] == list(fields)
    assert legal in error["legal"]


def test_the_webhook_of_a_missed_deadline(api: httpx.Client, redis: Redis) -> None:
    WebhookSecrets(redis).create("default")
    hook = {"url": "https://example.com/"}
    for job_id, events in (
        (post(api, webhook=hook, start_within_s=60), 4),
        (post(api, webhook=hook), 3),
    ):
        shown = api.get(f"/panoramas/{job_id}/deliveries").json()["events"]
        assert len(shown) == events
        assert ("panorama.expired" in shown) is (events == 4)
    body = {"prompt": "a hill", "webhook": {**hook, "events": ["panorama.expired"]}}
    error = at_fault(api.post("/panoramas", json=body))
    assert error["legal"] == "panorama.expired with start_within_s"
