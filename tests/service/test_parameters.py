"""Query parameters and headers: the legal ones are named, others are refused."""

from __future__ import annotations

import re
import threading

import httpx
import pytest

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from panoweave.service.openapi.examples import JOB_ID
from panoweave.service.schemas import PanoramaRequest
from tests.jobs.samples import FAILURE, new_record
from tests.service.checks import at_fault
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


def test_null_is_as_absent_inside_objects_too(api: httpx.Client) -> None:
    sync = dict.fromkeys(("weight", "decay", "steps", "every", "anchor", "decoder"))
    region = {"prompt": "x", "x": 0, "y": None, "width": 64, "negative_prompt": None}
    output = {"format": None, "quality": None}
    body = {"prompt": "a hill", "sync": sync, "regions": [region], "output": output}
    answer = api.post("/panoramas", json={**body, "metadata": {"kept": None}})
    assert answer.status_code == 202, answer.text
    assert answer.json()["metadata"] == {"kept": None}
    assert answer.json()["params"]["output"]["format"] == "png"


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
