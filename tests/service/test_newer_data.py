"""During an upgrade, a newer version stores what this one does not know. It breaks no answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.embedded import WEIGHTS
from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import new_job_id
from panoweave.core.jobs.store import JobStore
from panoweave.core.model_files.read import read_traits
from panoweave.core.webhooks.deliveries import Deliveries, State, Try
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.jobs.old_data import FOLDER
from tests.jobs.samples import FAILURE, new_record
from tests.service.steps import finish, start

Change = Callable[[Any], Any]


@pytest.fixture
def plain_api(api: httpx.Client) -> Iterator[httpx.Client]:
    """Without the check against this version's contract, which lists this version's values."""
    with httpx.Client(base_url=api.base_url, timeout=30) as client:
        yield client


def newer(**values: Any) -> Change:
    """Overwrites some of an object's values, and adds one that this version has not."""
    return lambda stored: {**stored, "of_a_newer_version": {"x": [1]}, **values}


def in_field(name: str, change: Change) -> Change:
    return lambda stored: {**stored, name: change(stored[name])}


# A field of the record's hash, and what a newer version stores there.
CHANGES: dict[str, tuple[str, Change]] = {
    "status": ("status", lambda _: "paused"),
    "preset": ("params", newer(preset="turbo")),
    "format": ("params", in_field("output", newer(format="jxl"))),
    "scheduler": ("params", newer(scheduler="unipc")),
    "sync": ("params", in_field("sync", newer(decoder="huge"))),
    "regions": ("params", newer(regions=[{"prompt": "a lighthouse", "shape": "circle"}])),
    "extend": ("params", newer(extend={"layers": 2})),
    "limits": ("params", newer(steps=1_000, width=2_000_000)),
    "error": ("error", newer(code="quota_exceeded")),
    "warning": (
        "result",
        newer(warnings=[newer(code="word_unknown")({"field": "x", "detail": ""})]),
    ),
    "coherence": ("result", newer(coherence={"by_row": [1, 2]})),
    "events": ("webhook", newer(events=["panorama.paused", "panorama.failed"])),
    "progress": ("progress", newer(phase="x" * 80)),
    "trace": ("trace", lambda _: {"span": 7}),
}


def change_stored(redis: Redis, job_id: str, field: str, change: Change) -> None:
    key = redis_keys.job(job_id)
    text: Any = redis.hget(key, field)
    if field == "status":
        redis.hset(key, field, change(text))
    else:
        redis.hset(key, field, json.dumps(change(json.loads(text or "{}"))))
    redis.hset(key, "of_a_newer_version", "x")


@pytest.mark.parametrize("name", CHANGES)
def test_a_newer_record_breaks_no_answer(
    plain_api: httpx.Client, store: JobStore, objects: ObjectStore, redis: Redis, name: str
) -> None:
    field, change = CHANGES[name]
    job_id = store.create(new_record()).id
    if field == "result":
        finish(store, objects, job_id)
    else:
        _, token = start(store, job_id)
        store.fail(job_id, token, FAILURE)
    other = store.create(new_record()).id
    change_stored(redis, job_id, field, change)
    path = f"/panoramas/{job_id}"

    listed = plain_api.get("/panoramas")
    assert listed.status_code == 200, listed.text
    shown = {item["id"]: item for item in listed.json()["items"]}
    assert set(shown) == {job_id, other}
    if name in ("status", "preset", "scheduler"):
        assert "paused" in str(shown[job_id]) or shown[job_id]["params"][name] in ("turbo", "unipc")
    assert plain_api.get(path).status_code == 200
    assert plain_api.get(f"{path}/deliveries").status_code == 200
    assert plain_api.post(f"{path}/deliveries/redeliver").status_code == 202
    assert plain_api.post(f"{path}/cancel").status_code == 200
    for rest in ("image", "preview"):
        assert plain_api.get(f"{path}/{rest}").status_code in (307, 404, 409)
    with plain_api.stream("GET", f"{path}/events", headers={"Last-Event-ID": "0-1"}) as events:
        assert events.status_code == 200
        assert "created" in next(events.iter_text())
    assert plain_api.post(f"{path}/retry").status_code in (202, 409)
    plain_api.post(f"{path}/cancel")
    assert plain_api.delete(path).status_code == (409 if name == "status" else 204)


def test_a_record_that_cannot_be_read_hides_no_other(
    plain_api: httpx.Client, store: JobStore, redis: Redis
) -> None:
    broken, other = (store.create(new_record()).id for _ in range(2))
    redis.hset(redis_keys.job(broken), "params", "{")
    listed = plain_api.get("/panoramas")
    assert [item["id"] for item in listed.json()["items"]] == [other]
    answer = plain_api.get(f"/panoramas/{broken}")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


@pytest.mark.parametrize(
    "name", [name for name, (field, _) in CHANGES.items() if field != "progress"]
)
def test_a_newer_record_in_s3_breaks_no_answer(
    plain_api: httpx.Client, objects: ObjectStore, name: str
) -> None:
    stored = json.loads((FOLDER / "metadata.json").read_text()) | {"id": new_job_id()}
    field, change = CHANGES[name]
    stored[field] = change(stored.get(field) or {"detail": "", "retryable": False})
    path, folder = f"/panoramas/{stored['id']}", f"default/{stored['id']}"
    body = json.dumps(newer()(stored)).encode()
    digest = hashlib.sha256(body).hexdigest()
    for key in (f"{folder}/1/metadata.json", f"{folder}/draft/metadata.json"):
        objects.put(key, body, "application/json", digest)
    assert plain_api.get(path).json()["id"] == stored["id"]
    assert plain_api.get(f"{path}/deliveries").status_code == 200
    assert plain_api.get(f"{path}/image").status_code in (307, 409)
    assert plain_api.post(f"{path}/cancel").status_code in (200, 404)
    assert plain_api.delete(path).status_code == (409 if name == "status" else 204)


def test_newer_events_and_deliveries_are_shown(
    plain_api: httpx.Client, store: JobStore, redis: Redis, settings: Settings
) -> None:
    record = store.request_cancel(store.create(new_record()).id)
    deliveries = Deliveries(redis, settings)
    (claimed,) = deliveries.claim(1, 60)
    tried = Try(at=record.created_at, took_s=1, status=500)
    deliveries.settle(claimed.id, tried, State.PENDING, 60)
    redis.hset(
        redis_keys.delivery(claimed.id),
        mapping={"type": "panorama.paused", "state": "on_hold", "added": "x"},
    )
    redis.rpush(
        redis_keys.delivery_attempts(claimed.id),
        tried.model_copy(update={"error": None})
        .model_dump_json()
        .replace('"error":null', '"error":"rate_limited","added":1'),
        "{",
    )
    redis.rpush(redis_keys.deliveries(record.id), "whk_broken")
    redis.hset(redis_keys.delivery("whk_broken"), "state", "pending")
    redis.xadd(
        redis_keys.events(record.id),
        {"type": "paused", "status": "paused", "attempt": 1, "data": "{}", "added": "x"},
    )
    answer = plain_api.get(f"/panoramas/{record.id}/deliveries")
    assert answer.status_code == 200, answer.text
    (shown,) = answer.json()["items"]
    assert (shown["type"], shown["state"]) == ("panorama.paused", "on_hold")
    assert [each["error"] for each in shown["tries"]] == [None, "rate_limited"]
    events = plain_api.get(f"/panoramas/{record.id}/events").text
    assert "event: paused" in events


STATES: dict[str, Change] = {
    "field": newer(),
    "state": newer(state="draining"),
    "perceptual": newer(perceptual="dreamsim"),
    "traits": in_field("traits", newer(windows=[1])),
    "defaults": in_field("traits", in_field("defaults", newer())),
}


@pytest.mark.parametrize("name", STATES)
def test_a_newer_worker_breaks_no_answer(plain_api: httpx.Client, redis: Redis, name: str) -> None:
    text: Any = redis.hget(redis_keys.MODELS, "embedded")
    newest = json.dumps(STATES[name](json.loads(text)))
    redis.hset(redis_keys.MODELS, "embedded", newest)
    redis.hset(redis_keys.MODELS, "broken", "{}")
    redis.set(redis_keys.worker("worker-1"), newest)
    redis.sadd(redis_keys.WORKERS, "worker-2")
    redis.set(redis_keys.worker("worker-2"), "{}")
    accepted = plain_api.post("/panoramas", json={"prompt": "a hill"})
    assert accepted.status_code == 202, accepted.text
    shown = plain_api.get("/models")
    assert [(item["model"], item["workers"]) for item in shown.json()["items"]] == [("embedded", 1)]
    status = plain_api.get("/status").json()
    assert [worker["name"] for worker in status["workers"]] == ["worker-1"]
    assert "panoweave_workers{" in plain_api.get("/metrics").text


def test_traits_that_cannot_be_read_are_as_good_as_none(
    plain_api: httpx.Client, redis: Redis
) -> None:
    """A request cannot be resolved by a part of them: the model's files say what it makes."""
    text: Any = redis.hget(redis_keys.MODELS, "embedded")
    change = in_field("traits", in_field("defaults", newer(scheduler="unipc")))
    redis.hset(redis_keys.MODELS, "embedded", json.dumps(change(json.loads(text))))
    assert plain_api.post("/panoramas", json={"prompt": "a hill"}).status_code == 202
    (shown,) = plain_api.get("/models").json()["items"]
    assert shown["traits"] == read_traits(str(WEIGHTS)).model_dump()


def test_a_newer_scope_allows_nothing_and_hides_no_key(redis: Redis) -> None:
    keys = ApiKeys(redis)
    key, token = keys.create("default", ("read",))
    newest = json.loads(key.model_dump_json()) | {"scopes": ["read", "usage"], "added": 1}
    redis.hset(redis_keys.API_KEYS, key.id, json.dumps(newest))
    redis.hset(redis_keys.API_KEYS, "broken", "{}")
    (listed,) = keys.all()
    found = keys.find(token)
    assert found == listed
    assert (listed.may("read"), listed.may("write")) == (True, False)
    secrets = WebhookSecrets(redis)
    made = secrets.create("default")
    redis.hset(redis_keys.webhook_secrets("default"), "broken", "{}")
    assert [each.id for each in secrets.of("default")] == [made.id]
