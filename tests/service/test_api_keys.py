"""Who is let in, to what, and whose panoramas they see."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys, Scope
from panoweave.core.infra.errors import NoSuchKey
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.idempotency import Idempotency
from panoweave.core.jobs.store import JobStore
from panoweave.service.http.auth import UnsafeBind, check_bind
from tests.jobs.samples import FAILURE, start_job
from tests.processes import wait_until
from tests.service.checks import problem
from tests.service.conftest import Wait, waiting
from tests.service.server import serving


@pytest.fixture
def api_keys(redis: Redis) -> ApiKeys:
    return ApiKeys(redis)


@contextmanager
def as_(api: httpx.Client, token: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=api.base_url, headers=headers, timeout=30) as client:
        yield client


def post(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post("/panoramas", json={"prompt": "a hill"}, headers=headers)


def test_as_long_as_there_are_no_keys_loopback_is_open(api: httpx.Client) -> None:
    assert post(api).status_code == 202


def test_once_there_is_a_key_nobody_is_let_in_without_one(
    api: httpx.Client, api_keys: ApiKeys
) -> None:
    _, token = api_keys.create("ada", ("write",))
    for wrong in (None, "x", token[:-1] + "!", token[:-2], "pw_0123456789abcdef_" + "a" * 43):
        headers = {} if wrong is None else {"Authorization": f"Bearer {wrong}"}
        for path in ("/panoramas", "/panoramas/x", "/panoramas/x/events", "/models"):
            answer = api.get(path, headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        problem(api.post("/uploads", headers=headers), 401, "unauthorized")
    problem(api.get("/models", headers={"Authorization": f"Basic {token}"}), 401, "unauthorized")
    for path in ("/livez", "/readyz", "/openapi.json"):
        assert api.get(path).status_code == 200
    with as_(api, token) as client:
        assert post(client).status_code == 202


def test_another_tenants_panorama_is_as_absent_as_none(
    api: httpx.Client, api_keys: ApiKeys, store: JobStore
) -> None:
    tokens = [api_keys.create(tenant, ("write",))[1] for tenant in ("ada", "bob", "ada")]
    with as_(api, tokens[0]) as ada, as_(api, tokens[1]) as bob, as_(api, tokens[2]) as her_other:
        job_id = post(ada).json()["id"]
        assert store.get(job_id).tenant == "ada"
        record = start_job(store, job_id, "worker-1")
        assert record.token is not None
        store.fail(job_id, record.token, FAILURE)
        for method, path in (
            ("GET", ""),
            ("GET", "/image"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("GET", "/deliveries"),
            ("POST", "/deliveries/redeliver"),
            ("DELETE", ""),
        ):
            answer = bob.request(method, f"/panoramas/{job_id}{path}")
            problem(answer, 404, "not_found")
        assert bob.get("/panoramas").json()["items"] == []
        assert her_other.get(f"/panoramas/{job_id}").status_code == 200
        key = bob.post("/uploads").json()["key"]
        assert key.startswith("bob/")
        body = {"prompt": "a hill", "anchor_image": {"key": key}}
        (error,) = problem(ada.post("/panoramas", json=body), 422, "invalid_params")["errors"]
        assert error["legal"] == "keys that begin with ada/"


def test_idempotency_keys_belong_to_the_tenant(api: httpx.Client, api_keys: ApiKeys) -> None:
    """A tenant's new API key finds what the old one has begun."""
    tokens = [api_keys.create(tenant, ("write",))[1] for tenant in ("ada", "ada", "bob")]
    made = []
    for token in (*tokens, *tokens):
        with as_(api, token) as client:
            made.append(post(client, **{"Idempotency-Key": "order-7"}).json()["id"])
    assert len(set(made)) == 2
    assert made[0] == made[1]
    assert made[2] not in made[:2]


def test_idempotency_keys_that_belonged_to_an_api_key_are_still_known(
    api: httpx.Client, api_keys: ApiKeys, redis: Redis
) -> None:
    """As version 0.2 stored them."""
    key, token = api_keys.create("ada", ("write",))
    fields = {"prompt": "a hill", "seed": None}  # an earlier version distinguished null from absent
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    known = Idempotency(redis)
    known.begin(key.id, "order-7", digest, "pano_1")
    stored = {"id": "pano_1", "params": {}, "metadata": {}}
    known.finish(key.id, "order-7", json.dumps(stored))
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "order-7"}
    answer = httpx.post(f"{api.base_url}/panoramas", json=fields, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()) == (202, stored)
    assert answer.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [(("read",), True, False), (("write",), True, True), (("admin",), True, True)],
)
def test_scopes(
    api: httpx.Client,
    api_keys: ApiKeys,
    scopes: tuple[Scope, ...],
    reads: bool,
    writes: bool,
) -> None:
    _, token = api_keys.create("ada", scopes)
    with as_(api, token) as client:
        assert (client.get("/panoramas").status_code == 200) is reads
        answer = post(client)
        if writes:
            assert answer.status_code == 202
        else:
            assert "write" in problem(answer, 403, "forbidden")["detail"]
            problem(client.delete("/panoramas/x"), 403, "forbidden")


def test_what_concerns_all_tenants_is_for_admins(api: httpx.Client, api_keys: ApiKeys) -> None:
    for scope, expected in (("write", 403), ("admin", 200)):
        with as_(api, api_keys.create("ada", (scope,))[1]) as client:  # type: ignore[arg-type]
            for path in ("/status", "/metrics"):
                assert client.get(path).status_code == expected
    for path in ("/status", "/metrics"):
        problem(api.get(path), 401, "unauthorized")


def test_a_revoked_key_lets_nobody_in(api: httpx.Client, api_keys: ApiKeys) -> None:
    first, first_token = api_keys.create("ada", ("write",))
    _, second_token = api_keys.create("ada", ("write",))
    api_keys.revoke(first.id)
    with as_(api, first_token) as client:
        problem(client.get("/panoramas"), 401, "unauthorized")
    with as_(api, second_token) as client:
        assert client.get("/panoramas").status_code == 200
    with pytest.raises(NoSuchKey):
        api_keys.revoke(first.id)


def test_redis_holds_no_secret_and_no_log_does(
    api: httpx.Client, api_keys: ApiKeys, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    _, token = api_keys.create("ada", ("write",))
    secret = token[-43:]
    with caplog.at_level(logging.DEBUG), as_(api, token) as client:
        assert post(client).status_code == 202
    assert secret.encode() not in b"".join(redis.hvals(redis_keys.API_KEYS))  # type: ignore[arg-type]
    assert secret not in caplog.text


BEYOND = ["0.0.0.0", "::", "192.168.1.4", "example.org", ""]


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_loopback_the_api_needs_keys(host: str, api_keys: ApiKeys) -> None:
    settings = Settings(host=host)
    with pytest.raises(UnsafeBind, match="panoweave keys create"):
        check_bind(settings, api_keys)
    api_keys.create("ada", ("read",))
    check_bind(settings, api_keys)


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_loopback_anonymous_mode_is_refused_unless_it_is_meant(
    host: str, api_keys: ApiKeys
) -> None:
    api_keys.create("ada", ("read",))
    with pytest.raises(UnsafeBind, match="everywhere"):
        check_bind(Settings(host=host, anonymous="loopback"), api_keys)
    check_bind(Settings(host=host, anonymous="everywhere"), api_keys)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host: str, api_keys: ApiKeys) -> None:
    check_bind(Settings(host=host), api_keys)
    check_bind(Settings(host=host, anonymous="loopback"), api_keys)


def test_by_default_nobody_is_let_in_without_a_key(
    settings: Settings, api_keys: ApiKeys, redis: Redis
) -> None:
    """Before the first key, after the last one, and with an emptied Redis."""
    with serving(settings.model_copy(update={"anonymous": "off"})) as api:
        problem(api.get("/panoramas"), 401, "unauthorized")
        key, token = api_keys.create("ada", ("write",))
        with as_(api, token) as client:
            assert client.get("/panoramas").status_code == 200
        api_keys.revoke(key.id)
        problem(api.get("/panoramas"), 401, "unauthorized")
        redis.flushall()
        problem(api.get("/panoramas"), 401, "unauthorized")
        for path in ("/status", "/metrics"):
            problem(api.get(path), 401, "unauthorized")


def test_the_first_key_ends_anonymous_mode_for_good(api: httpx.Client, api_keys: ApiKeys) -> None:
    assert api.get("/panoramas").status_code == 200
    key, _ = api_keys.create("ada", ("write",))
    problem(api.get("/panoramas"), 401, "unauthorized")
    api_keys.revoke(key.id)
    problem(api.get("/panoramas"), 401, "unauthorized")
    problem(post(api), 401, "unauthorized")


def test_keys_of_earlier_versions_end_anonymous_mode_too(
    api: httpx.Client, api_keys: ApiKeys, redis: Redis
) -> None:
    """They were made without a note that there has been a key."""
    key, _ = api_keys.create("ada", ("write",))
    redis.delete(redis_keys.API_KEY_WAS_MADE)
    problem(api.get("/panoramas"), 401, "unauthorized")
    api_keys.revoke(key.id)
    problem(api.get("/panoramas"), 401, "unauthorized")


def test_a_loopback_mode_lets_nobody_in_from_beyond(settings: Settings, redis: Redis) -> None:  # noqa: ARG001
    """`check_bind` refuses this one; were it not to, each request is still refused."""
    with serving(settings.model_copy(update={"host": "0.0.0.0"})) as api:
        problem(api.get("/panoramas"), 401, "unauthorized")
    everywhere = {"host": "0.0.0.0", "anonymous": "everywhere"}
    with serving(settings.model_copy(update=everywhere)) as api:
        assert api.get("/panoramas").status_code == 200


def test_a_revoked_key_ends_its_open_requests(
    api: httpx.Client, api_keys: ApiKeys, store: JobStore, waits: list[Wait]
) -> None:
    """At once: a stream ends, also one of a token that the key made; a long poll is refused, and a
    POST that waits is answered as accepted. Those of other keys go on."""
    revoked, token = api_keys.create("ada", ("write",))
    _, other_token = api_keys.create("ada", ("write",))
    with as_(api, token) as client, as_(api, other_token) as other, ThreadPoolExecutor(5) as pool:
        path = f"/panoramas/{post(client).json()['id']}"
        view = {"token": client.post("/tokens").json()["token"]}
        streams = [
            pool.submit(client.get, f"{path}/events"),
            pool.submit(api.get, f"{path}/events", params=view),
        ]
        poll = pool.submit(client.get, path, headers={"Prefer": "wait=60"})
        posted = pool.submit(post, client, Prefer="wait=60")
        others = pool.submit(other.get, f"{path}/events")
        wait_until(lambda: waiting(waits) == 5, 30)
        api_keys.revoke(revoked.id)
        assert [stream.result(30).text.count("event: ") for stream in streams] == [1, 1]
        problem(poll.result(30), 401, "unauthorized")
        accepted = posted.result(30)
        assert (accepted.status_code, accepted.json()["status"]) == (202, "queued")
        assert not others.done()
        store.request_cancel(path.rpartition("/")[2])
        assert "event: cancelled" in others.result().text


def test_the_first_key_ends_open_requests_of_anonymous_callers(
    api: httpx.Client, api_keys: ApiKeys, waits: list[Wait]
) -> None:
    path = f"/panoramas/{post(api).json()['id']}"
    view = {"token": api.post("/tokens").json()["token"]}
    with ThreadPoolExecutor(4) as pool:
        streams = [
            pool.submit(api.get, f"{path}/events"),
            pool.submit(api.get, f"{path}/events", params=view),
        ]
        poll = pool.submit(api.get, path, headers={"Prefer": "wait=60"})
        posted = pool.submit(post, api, Prefer="wait=60")
        wait_until(lambda: waiting(waits) == 4, 30)
        api_keys.create("ada", ("read",))
        assert [stream.result(30).text.count("event: ") for stream in streams] == [1, 1]
        problem(poll.result(30), 401, "unauthorized")
        assert posted.result(30).status_code == 202
