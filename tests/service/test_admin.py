"""What admin keys do over HTTP: API keys, and the panoramas of any tenant."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import api_keys, redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record
from tests.processes import wait_until
from tests.service.checks import at_fault, problem
from tests.service.conftest import Wait, waiting

Headers = dict[str, str]


@pytest.fixture
def admin(api: httpx.Client, redis: Redis) -> Headers:  # noqa: ARG001
    return bearer(ApiKeys(redis).create("ops", ("admin",))[1])


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def create(api: httpx.Client, admin: Headers, **fields: object) -> httpx.Response:
    return api.post("/keys", json={"tenant": "ada", "scopes": ["write"], **fields}, headers=admin)


def test_a_key_is_made_used_and_revoked(api: httpx.Client, admin: Headers) -> None:
    answer = create(api, admin, label="the shop's server")
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    assert (made["tenant"], made["scopes"], made["label"]) == (
        *("ada", ["write"]),
        "the shop's server",
    )
    assert not made.keys() & {"expires_at", "last_used_at", "digest"}
    hers = bearer(made["token"])
    assert api.post("/panoramas", json={"prompt": "a hill"}, headers=hers).status_code == 202

    listed = {each["id"]: each for each in api.get("/keys", headers=admin).json()["items"]}
    assert len(listed) == 2
    used_at = datetime.fromisoformat(listed[made["id"]]["last_used_at"])
    assert abs(datetime.now(UTC) - used_at) < timedelta(seconds=10)
    _, _, secret = made["token"].partition(f"{made['id']}_")  # which may have underscores, too
    assert len(secret) > 40
    assert secret not in json.dumps(listed)

    assert api.delete(f"/keys/{made['id']}", headers=admin).status_code == 204
    problem(api.get("/panoramas", headers=hers), 401, "unauthorized")
    problem(api.delete(f"/keys/{made['id']}", headers=admin), 404, "key_not_found")


def expire(redis: Redis, made: dict[str, Any]) -> None:
    """As if a key's time had passed."""
    stored: Any = redis.hget(redis_keys.API_KEYS, made["id"])
    just_now = (datetime.now(UTC) - timedelta(milliseconds=1)).isoformat()
    redis.hset(
        redis_keys.API_KEYS, made["id"], json.dumps({**json.loads(stored), "expires_at": just_now})
    )


def test_a_key_expires(api: httpx.Client, admin: Headers, redis: Redis) -> None:
    before = datetime.now(UTC)
    made = create(api, admin, expires_in=60).json()
    left = datetime.fromisoformat(made["expires_at"]) - timedelta(seconds=60)
    assert before - timedelta(seconds=1) < left <= datetime.now(UTC)
    hers = bearer(made["token"])
    assert api.get("/panoramas", headers=hers).status_code == 200
    assert api.post("/tokens", headers=hers).json()["expires_in_s"] <= 60  # it ends with the key
    expire(redis, made)
    refused = problem(api.get("/panoramas", headers=hers), 401, "unauthorized")
    assert "has expired" in refused["detail"]
    shown = [each["id"] for each in api.get("/keys", headers=admin).json()["items"]]
    assert made["id"] in shown  # until it is revoked


def test_what_is_open_ends_with_its_key(
    api: httpx.Client, admin: Headers, store: JobStore, redis: Redis, waits: list[Wait]
) -> None:
    """A long poll is refused, and a stream ends, also one of a token that the key made."""
    path = f"/panoramas/{store.create(new_record(tenant='ada')).id}"
    made = create(api, admin, expires_in=60).json()
    hers = bearer(made["token"])
    view = {"token": api.post("/tokens", headers=hers).json()["token"]}
    with ThreadPoolExecutor(3) as pool:
        poll = pool.submit(api.get, path, headers={**hers, "Prefer": "wait=60"})
        streams = [
            pool.submit(api.get, f"{path}/events", headers=hers),
            pool.submit(api.get, f"{path}/events", params=view),
        ]
        wait_until(lambda: waiting(waits) == 3, 30)
        expire(redis, made)
        redis.publish(redis_keys.WAKES, redis_keys.WAKES_ALL)  # or they look after some seconds
        try:
            problem(poll.result(30), 401, "unauthorized")
            assert [stream.result(30).text.count("event: ") for stream in streams] == [1, 1]
        finally:
            store.request_cancel(path.rpartition("/")[2])  # ends a stream that goes on


def test_use_is_stored_once_a_minute(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    known = ApiKeys(redis)
    key, token = known.create("ada", ("read",))
    known.find(token)
    redis.delete(redis_keys.API_KEYS_USED)
    known.find(token)
    assert known.last_used() == {}
    monkeypatch.setattr(api_keys, "_USE_NOTED_EVERY_S", 0.0)
    known.find(token)
    assert list(known.last_used()) == [key.id]
    known.revoke(key.id)
    assert known.last_used() == {}


def test_keys_that_an_earlier_version_stored_are_read(
    api: httpx.Client, admin: Headers, redis: Redis
) -> None:
    key, token = ApiKeys(redis).create("ada", ("read",))
    stored = json.loads(redis.hget(redis_keys.API_KEYS, key.id) or "")
    old = {name: value for name, value in stored.items() if value is not None}
    assert old.keys() == {"id", "tenant", "scopes", "created_at", "digest"}
    redis.hset(redis_keys.API_KEYS, key.id, json.dumps(old))
    assert api.get("/panoramas", headers=bearer(token)).status_code == 200
    (shown,) = (
        each for each in api.get("/keys", headers=admin).json()["items"] if each["id"] == key.id
    )
    assert shown.keys() == {"id", "tenant", "scopes", "created_at", "last_used_at"}


@pytest.mark.parametrize(
    ("fields", "field", "legal"),
    [
        ({"tenant": "Ada Lovelace"}, "tenant", "lower-case letters"),
        ({"tenant": "-ada"}, "tenant", "no hyphen"),
        ({"tenant": ""}, "tenant", "1 to 63"),
        ({"scopes": []}, "scopes", "read, write, scaling, admin"),
        ({"scopes": ["all"]}, "scopes.0", "'read' or 'write'"),
        ({"label": "x" * 101}, "label", "1 to 100 characters"),
        ({"expires_in": 0}, "expires_in", "from 1 to 315360000"),
        ({"owner": "me"}, "owner", "the fields tenant, scopes, label, expires_in"),
    ],
)
def test_a_wrong_key_is_refused(
    api: httpx.Client, admin: Headers, redis: Redis, fields: Headers, field: str, legal: str
) -> None:
    error = at_fault(create(api, admin, **fields))
    assert error["field"] == field
    assert legal in error["legal"]
    assert redis.hlen(redis_keys.API_KEYS) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/keys"),
        ("GET", "/keys"),
        ("DELETE", "/keys/07e8f9595bdbd83c"),
        ("GET", "/tenants/ada/panoramas"),
        ("POST", "/webhooks/pings"),
        ("GET", "/webhooks/pings/ping_07e8f9595bdbd83c07e8f9595bdbd83c"),
        ("POST", "/tenants/ada/panoramas/pano_01m88yz3nz1mdvc9qm85vama36/cancel"),
    ],
)
def test_they_need_an_admin_key(api: httpx.Client, redis: Redis, method: str, path: str) -> None:
    """In anonymous mode too: who comes first must not be able to lock the others out."""
    body = {
        "/keys": {"tenant": "ada", "scopes": ["admin"]},
        "/webhooks/pings": {"tenant": "ada", "url": "https://example.com/"},
    }.get(path if method == "POST" else "")
    refused = problem(api.request(method, path, json=body), 401, "unauthorized")
    assert "keys create --scope admin" in refused["detail"]
    assert not redis.exists(redis_keys.API_KEYS)
    _, token = ApiKeys(redis).create("ada", ("write", "scaling"))
    problem(api.request(method, path, json=body, headers=bearer(token)), 403, "forbidden")


def test_any_tenants_panoramas_are_listed_and_cancelled(
    api: httpx.Client, admin: Headers, store: JobStore
) -> None:
    hers, his = (store.create(new_record(tenant=tenant)).id for tenant in ("ada", "bob"))
    assert api.get("/panoramas", headers=admin).json()["items"] == []
    page = api.get("/tenants/ada/panoramas", params={"total": "true"}, headers=admin).json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([hers], 1)
    problem(api.post(f"/tenants/ada/panoramas/{his}/cancel", headers=admin), 404, "not_found")
    answer = api.post(f"/tenants/bob/panoramas/{his}/cancel", headers=admin)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert store.get(his).status == "cancelled"
    nobody = api.get("/tenants/No%20One/panoramas", headers=admin).json()
    assert nobody["items"] == []
    queued = api.get("/tenants/bob/panoramas", params={"status": "queued"}, headers=admin).json()
    assert queued["items"] == []
