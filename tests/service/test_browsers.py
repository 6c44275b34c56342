"""What browsers need: HEAD, OPTIONS, CORS, and tokens where no API key can be sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from panoweave.service.openapi.examples import JOB_ID
from tests.service.checks import at_fault, problem
from tests.service.server import publish_model, serving
from tests.service.steps import PICTURE, finish, post

PAGE = "https://app.example"


@pytest.fixture
def finished(api: httpx.Client, store: JobStore, objects: ObjectStore) -> str:
    job_id = post(api)
    finish(store, objects, job_id)
    return job_id


@pytest.fixture
def cors(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:
    publish_model(redis)
    origins = {"cors_origins": f"{PAGE}, https://b.example", "anonymous": "off"}
    with serving(settings.model_copy(update=origins)) as api:
        yield api


@pytest.mark.parametrize(
    "path",
    ["", "/{}", "/{}/image", "/{}/image?redirect=false", "/{}/preview", "/{}/deliveries", "/x"],
)
def test_head_answers_as_get_without_a_body(api: httpx.Client, finished: str, path: str) -> None:
    path = f"/panoramas{path.format(finished)}"
    get, head = api.get(path), api.head(path)
    assert head.content == b""
    assert head.status_code == get.status_code
    of_one_request = {"date", "x-request-id", "location", "transfer-encoding"}
    assert head.headers.keys() - of_one_request == get.headers.keys() - of_one_request
    assert head.headers.get("content-length") == get.headers.get("content-length")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/models", "/status", "/openapi.json"])
def test_head_answers_for_what_concerns_the_service(api: httpx.Client, path: str) -> None:
    assert api.head(path).status_code == 200


def test_head_of_a_stream_ends(api: httpx.Client) -> None:
    head = api.head(f"/panoramas/{post(api)}/events")
    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")
    assert api.get("/livez").status_code == 200  # on the same connection


def test_head_asks_for_the_same_key(closed_to_all: httpx.Client) -> None:
    assert closed_to_all.head("/panoramas").status_code == 401


@pytest.fixture
def closed_to_all(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:  # noqa: ARG001
    with serving(settings.model_copy(update={"anonymous": "off"})) as api:
        yield api


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/panoramas", "GET, HEAD, OPTIONS, POST"),
        (f"/panoramas/{JOB_ID}", "DELETE, GET, HEAD, OPTIONS"),
        (f"/panoramas/{JOB_ID}/cancel", "OPTIONS, POST"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_names_the_methods_and_asks_for_no_key(
    closed_to_all: httpx.Client, path: str, allow: str
) -> None:
    answer = closed_to_all.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")
    refused = problem(closed_to_all.put(path), 405, "method_not_allowed")
    assert refused["detail"] == f"Allowed here: {allow}."
    problem(closed_to_all.options("/nowhere"), 404, "unknown_path")


def test_a_preflight_needs_no_key(cors: httpx.Client) -> None:
    asked = "authorization, content-type, idempotency-key, last-event-id, prefer, if-none-match"
    for method in ("GET", "POST", "DELETE", "HEAD"):
        preflight = {
            "Origin": PAGE,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": asked,
        }
        answer = cors.options("/panoramas", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert method in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert set(asked.split(", ")) <= set(allowed.split(", "))
    elsewhere = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    answer = cors.options("/panoramas", headers=elsewhere)
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_an_allowed_origin_reads_answers_and_refusals(
    cors: httpx.Client, redis: Redis
) -> None:
    _, token = ApiKeys(redis).create("ada", ("write",))
    bearer = {"Authorization": f"Bearer {token}"}
    body = {"prompt": "a hill"}
    for answer in (
        cors.post("/panoramas", json=body, headers={**bearer, "Origin": PAGE}),
        cors.post("/panoramas", json=body, headers={"Origin": PAGE}),
        cors.get("/panoramas/x", headers={**bearer, "Origin": PAGE}),
        cors.post("/panoramas", content=b"x", headers={**bearer, "Origin": PAGE}),
    ):
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"location", "etag", "retry-after", "x-request-id"} <= set(exposed)
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    elsewhere = {**bearer, "Origin": "https://elsewhere.example"}
    answer = cors.get("/panoramas", headers=elsewhere)
    assert "access-control-allow-origin" not in answer.headers


def test_a_token_reads_events_and_pictures(
    api: httpx.Client, finished: str, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    key, api_key = ApiKeys(redis).create("default", ("read",))
    created = api.post("/tokens", headers={"Authorization": f"Bearer {api_key}"})
    assert created.status_code == 201
    assert created.headers["cache-control"] == "no-store"
    token, ttl_s = created.json()["token"], created.json()["expires_in_s"]
    here = f"/panoramas/{finished}"
    with caplog.at_level(logging.DEBUG):
        assert api.get(f"{here}/image", params={"token": token}).status_code == 307
        assert api.get(f"{here}/preview", params={"token": token}).status_code == 307
        shown = api.get(f"{here}/image", params={"token": token, "redirect": "false"})
        assert shown.content == PICTURE
        assert "succeeded" in api.get(f"{here}/events", params={"token": token}).text
        for path in ("/panoramas", here, "/models", f"{here}/deliveries"):
            assert at_fault(api.get(path, params={"token": token}))["field"] == "token"
        assert api.post(f"{here}/cancel", params={"token": token}).status_code == 422
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("panoweave")]
    assert token not in str(ours)
    (stored,) = redis.scan_iter(redis_keys.view_token("*"))
    assert token.encode() not in stored
    assert 0 < redis.ttl(stored) <= ttl_s
    for wrong in ("x", "", token[:-1] + "!", "pwv_" + "a" * 43):
        problem(api.get(f"{here}/image", params={"token": wrong}), 401, "unauthorized")
    ApiKeys(redis).revoke(key.id)
    problem(api.get(f"{here}/image", params={"token": token}), 401, "unauthorized")


def test_a_token_is_of_its_tenant(api: httpx.Client, finished: str, redis: Redis) -> None:
    _, api_key = ApiKeys(redis).create("bob", ("admin",))
    token = api.post("/tokens", headers={"Authorization": f"Bearer {api_key}"}).json()["token"]
    answer = api.get(f"/panoramas/{finished}/image", params={"token": token})
    problem(answer, 404, "not_found")


def test_requests_by_token_count_against_the_tenants_rate(
    settings: Settings, finished: str
) -> None:
    with serving(settings.model_copy(update={"tenant_reads_per_minute": 2})) as api:
        view = {"token": api.post("/tokens").json()["token"]}
        found = [api.get(f"/panoramas/{finished}/image", params=view) for _ in range(3)]
    assert [answer.status_code for answer in found] == [307, 307, 429]
    problem(found[-1], 429, "rate_limited")


def test_an_anonymous_callers_token_ends_with_anonymous_mode(
    api: httpx.Client, finished: str, redis: Redis
) -> None:
    token = api.post("/tokens").json()["token"]
    path, params = f"/panoramas/{finished}/image", {"token": token}
    assert api.get(path, params=params).status_code == 307
    ApiKeys(redis).create("ada", ("read",))
    problem(api.get(path, params=params), 401, "unauthorized")


def test_pictures_come_through_the_api_too(
    api: httpx.Client, finished: str, objects: ObjectStore
) -> None:
    here = f"/panoramas/{finished}"
    answer = api.get(f"{here}/image", params={"redirect": "false"})
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(PICTURE))
    assert finished in answer.headers["content-disposition"]
    preview = api.get(f"{here}/preview", params={"redirect": "false"})
    assert (preview.content, preview.headers["content-type"]) == (PICTURE, "image/jpeg")
    assert api.get(f"{here}/image", params={"redirect": "true"}).status_code == 307
    error = at_fault(api.get(f"{here}/image", params={"redirect": "perhaps"}))
    assert (error["field"], error["legal"]) == ("redirect", "true or false")
    objects.delete_prefix("")
    gone = api.get(f"{here}/image", params={"redirect": "false"})
    problem(gone, 503, "storage_unavailable")
