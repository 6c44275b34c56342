"""Query parameters and headers: the legal ones are named, others are refused."""

from __future__ import annotations

import re
import threading
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from redis import Redis

from panoweave.core.conditions import Extend, ImageInput, Region
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from panoweave.core.output import Output
from panoweave.core.params import SyncParams
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.openapi.examples import JOB_ID
from panoweave.service.schemas import PanoramaRequest, WebhookRequest
from tests.jobs.samples import FAILURE, new_record
from tests.service.checks import at_fault
from tests.service.pictures import inline, png
from tests.service.steps import finish, post, start

HERE = f"/panoramas/{JOB_ID}"


@pytest.mark.parametrize(
    ("method", "path", "legal"),
    [
        (
            *("GET", "/panoramas"),
            "the parameters limit, cursor, total, status, created_after, created_before, metadata, "
            "batch_id",
        ),
        ("GET", HERE, "no parameters"),
        ("POST", "/panoramas", "no parameters"),
        ("GET", f"{HERE}/image", "the parameters redirect, token"),
        ("POST", f"{HERE}/deliveries/redeliver", "the parameters id"),
        ("GET", "/livez", "no parameters"),
        ("GET", "/metrics", "no parameters"),
        ("GET", "/openapi.json", "no parameters"),
        ("GET", "/studio/icon.svg", "no parameters"),
    ],
)
def test_unknown_query_parameters_are_refused(
    api: httpx.Client, method: str, path: str, legal: str
) -> None:
    error = at_fault(api.request(method, path, params={"Limit": "3"}))
    assert error["field"] == "Limit"
    assert set(error["legal"].split(", ")) == set(legal.split(", ")) or error["legal"] == legal
    assert len(api.request(method, path, params={"y" * 5_000: "3"}).text) < 1_000


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_open_from_links_with_parameters_of_other_sites(api: httpx.Client, page: str) -> None:
    answer = api.get(f"{page}?fbclid=IwAR3&utm_source=mail&utm_source=post")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text == api.get(page).text
    assert "Content-Security-Policy" in answer.headers


def test_of_two_values_none_is_guessed(api: httpx.Client) -> None:
    error = at_fault(api.get("/panoramas?limit=5&limit=6"))
    assert (error["field"], error["legal"]) == ("limit", "one value")
    job_id = post(api)
    # A list may have several. These are refused because they do not exist.
    several = at_fault(api.post(f"/panoramas/{job_id}/deliveries/redeliver?id=msg_1&id=msg_2"))
    assert several["legal"] != "one value"


@pytest.mark.parametrize(
    ("path", "params", "headers", "field", "legal"),
    [
        ("/panoramas", {"limit": "0"}, {}, "limit", "a whole number from 1 to 100"),
        ("/panoramas", {"limit": "many"}, {}, "limit", "a whole number from 1 to 100"),
        ("/panoramas", {"status": "done"}, {}, "status", "'queued' or 'running'"),
        ("/panoramas", {"cursor": "x"}, {}, "cursor", "text that matches"),
        (f"{HERE}/events", {}, {"Last-Event-ID": "x"}, "last-event-id", "text that matches"),
    ],
)
def test_refused_parameters_carry_what_is_legal(
    api: httpx.Client,
    path: str,
    params: dict[str, str],
    headers: dict[str, str],
    field: str,
    legal: str,
) -> None:
    error = at_fault(api.get(path, params=params, headers=headers))
    assert error["field"] == field
    assert legal in error["legal"]


def can_be_refused(schema: dict[str, Any]) -> bool:
    """Whatever is not any text."""
    if schema.get("type") == "array":
        return can_be_refused(schema["items"])
    return schema.get("type") != "string" or bool(schema.keys() & {"pattern", "format", "enum"})


def test_every_parameter_that_is_refused_carries_what_is_legal(
    api: httpx.Client, redis: Redis
) -> None:
    """Those of all reading operations, as the document has them."""
    _, key = ApiKeys(redis).create("default", ("admin",))
    names = {"job_id": JOB_ID, "tenant": "ada", "model": "embedded"}
    asked = []
    for path, operations in api.get("/openapi.json").json()["paths"].items():
        for each in operations.get("get", {}).get("parameters", []):
            if each["in"] == "path" or not can_be_refused(each["schema"]):
                continue
            where = "params" if each["in"] == "query" else "headers"
            sent: dict[str, dict[str, str]] = {"params": {}, "headers": {}}
            sent["headers"]["Authorization"] = f"Bearer {key}"
            sent[where][each["name"]] = "!"
            asked.append(each["name"])
            error = at_fault(api.get(path.format_map(names), **sent))  # type: ignore[arg-type]
            assert error["field"] == each["name"], path
            assert len(error["legal"]) > len("text"), path
    assert set(asked) == {
        *("limit", "cursor", "total", "status", "created_after", "created_before", "batch_id"),
        *("redirect", "last-event-id", "by", "seconds_per_worker"),
    }


def test_a_refused_idempotency_key_carries_what_is_legal(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "two words"}
    error = at_fault(api.post("/panoramas", json={"prompt": "a hill"}, headers=headers))
    assert "text of 1 to 255 characters" in error["legal"]


OPTIONAL = [
    name
    for name in PanoramaRequest.model_json_schema()["properties"]
    if name not in PanoramaRequest.model_json_schema()["required"]
]


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_is_as_absent(api: httpx.Client, field: str) -> None:
    bodies = ({"prompt": "a hill", "seed": 1}, {"prompt": "a hill", "seed": 1, field: None})
    if field == "seed":
        bodies = ({"prompt": "a hill"}, {"prompt": "a hill", "seed": None})
    answers = [
        api.post("/panoramas", json=body, headers={"Idempotency-Key": "order-7"}) for body in bodies
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["idempotency-replayed"] == "true"


def nulls(model: type[BaseModel]) -> dict[str, None]:
    """Every optional field."""
    return {name: None for name, field in model.model_fields.items() if not field.is_required()}


def test_null_is_as_absent_inside_objects_too(api: httpx.Client, redis: Redis) -> None:
    WebhookSecrets(redis).create("default")
    image = nulls(ImageInput) | inline(png((64, 64)))
    with_null = {
        "seed": 1,
        "sync": nulls(SyncParams),
        "output": nulls(Output),
        "regions": [nulls(Region) | {"prompt": "x", "x": 0, "width": 64}],
        "extend": nulls(Extend) | {"image": image},
        "webhook": nulls(WebhookRequest) | {"url": "https://example.com/hook"},
    }
    without = {
        "seed": 1,
        "regions": [{"prompt": "x", "x": 0, "width": 64}],
        "extend": {"image": inline(png((64, 64)))},
        "webhook": {"url": "https://example.com/hook"},
    }
    made = []
    for asked in (with_null, without):
        body = {"prompt": "a hill", **asked, "metadata": {"kept": None}}
        answer = api.post("/panoramas", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["metadata"] == {"kept": None}
        params = answer.json()["params"]
        params["extend"].pop("image")  # a copy for each
        made.append(params)
    assert made[0] == made[1]


def test_null_is_legal_in_all_optional_fields_of_all_bodies(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    seen: set[str] = set()

    def takes_null(schema: dict[str, Any]) -> bool:
        if "$ref" in schema:
            return takes_null(schemas[schema["$ref"].rpartition("/")[2]])
        if schema.get("type") == "null":
            return True
        return any(takes_null(each) for each in schema.get("anyOf", []) + schema.get("oneOf", []))

    def refusing(schema: dict[str, Any], name: str) -> list[str]:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name in seen:
                return []
            seen.add(name)
            schema = schemas[name]
        found = []
        for each in [*schema.get("anyOf", []), *schema.get("oneOf", []), schema.get("items", {})]:
            found += refusing(each, name) if each else []
        for field, inner in schema.get("properties", {}).items():
            if field not in schema.get("required", []) and not takes_null(inner):
                found.append(f"{name}.{field}")
            found += refusing(inner, f"{name}.{field}")
        return found

    bodies = [
        body["schema"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for body in operation.get("requestBody", {}).get("content", {}).values()
    ]
    assert [each for body in bodies for each in refusing(body, "body")] == []
    assert seen >= {"PanoramaRequest", "SyncParams", "Region", "Output", "ImagesRequest"}


def test_every_time_has_one_format(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    finish(store, objects, job_id := post(api))
    cancelled = store.request_cancel(store.create(new_record()).id)  # with a webhook
    texts = (
        api.get(f"/panoramas/{cancelled.id}/deliveries").text,
        api.get(f"/panoramas/{job_id}").text,
        api.get("/models").text,
        api.get("/panoramas").text,
    )
    for text in texts:
        times = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', text)
        assert times
        for time in times:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)


def test_a_failed_event_has_the_code(api: httpx.Client, store: JobStore) -> None:
    job_id = post(api)
    _, token = start(store, job_id)
    store.fail(job_id, token, FAILURE)
    events = api.get(f"/panoramas/{job_id}/events").text
    (failed,) = re.findall(r"event: failed\ndata: (.*)\n", events)
    assert f'"code":"{FAILURE.code}"' in failed
    assert '"code":null' in events  # in the others


def test_a_post_waits_for_the_end(api: httpx.Client, store: JobStore, objects: ObjectStore) -> None:
    def make() -> None:
        while not (records := store.list("default", None, 1, None).records):
            pass
        finish(store, objects, records[0].id)

    worker = threading.Thread(target=make)
    worker.start()
    wait = {"Prefer": "wait=20", "Idempotency-Key": "order-7"}
    answer = api.post("/panoramas", json={"prompt": "a hill"}, headers=wait)
    worker.join()
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=20"
    assert "retry-after" not in answer.headers
    assert answer.headers["location"] == f"/panoramas/{answer.json()['id']}"
    again = api.post("/panoramas", json={"prompt": "a hill"}, headers=wait)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json()["status"] == "succeeded"


def test_a_post_that_waits_in_vain_is_answered_as_ever(api: httpx.Client) -> None:
    answer = api.post("/panoramas", json={"prompt": "a hill"}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"
