"""A panorama that is read again and again: `ETag`, `Prefer: wait`; and one that is deleted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE, new_record, progress
from tests.processes import wait_until
from tests.service.checks import problem
from tests.service.conftest import Wait
from tests.service.steps import finish, post, start


def get(api: httpx.Client, job_id: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.get(f"/panoramas/{job_id}", headers=named)


def test_what_has_not_changed_is_not_sent_again(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    job_id = post(api)
    first = get(api, job_id)
    tag = first.headers["etag"]
    assert not tag.startswith("W/")
    for named in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = get(api, job_id, if_none_match=named)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    finish(store, objects, job_id)
    changed = get(api, job_id, if_none_match=tag)
    assert (changed.status_code, changed.json()["status"]) == (200, "succeeded")
    # Its links are the same for a while, or no finished panorama would ever be unchanged.
    assert get(api, job_id, if_none_match=changed.headers["etag"]).status_code == 304


def test_one_may_wait_for_its_end(api: httpx.Client, store: JobStore, waits: list[Wait]) -> None:
    """Progress on the way ends no wait; its end does."""
    job_id = post(api)
    _, token = start(store, job_id)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, api, job_id, prefer="respond-async, wait=60")
        wait_until(lambda: len(waits) >= 1, 30)
        store.report(job_id, token, progress(1))
        wait_until(lambda: len(waits) >= 2, 30)
        store.fail(job_id, token, FAILURE)
        answer = asked.result(30)
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.json()["status"] == "failed"
    waits.clear()
    assert get(api, job_id, prefer="wait=30").json()["status"] == "failed"
    assert waits == []


def test_one_may_wait_for_a_change(api: httpx.Client, store: JobStore, waits: list[Wait]) -> None:
    job_id = post(api)
    _, token = start(store, job_id)
    tag = get(api, job_id).headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, api, job_id, prefer="wait=60", if_none_match=tag)
        wait_until(lambda: len(waits) >= 1, 30)
        store.report(job_id, token, progress(1))
        answer = asked.result(30)
    assert (answer.status_code, answer.json()["progress"]["step"]) == (200, 1)


def test_a_wait_has_an_end(api: httpx.Client, waits: list[Wait]) -> None:
    job_id = post(api)
    tag = get(api, job_id).headers["etag"]
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, api, job_id, prefer="wait=1")
        second = pool.submit(get, api, job_id, prefer="wait=1", if_none_match=tag)
    assert time.monotonic() - begun > 0.9
    assert all(each.limit_s <= 1 for each in waits)
    assert (first.result().status_code, first.result().json()["status"]) == (200, "queued")
    assert second.result().status_code == 304


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=0", "wait=0"), ("wait=x", None), ("return=minimal", None), ('wait="0"', "wait=0")],
)
def test_other_preferences_are_ignored(api: httpx.Client, prefer: str, applied: str | None) -> None:
    answer = get(api, post(api), prefer=prefer)
    assert answer.status_code == 200
    assert answer.headers.get("preference-applied") == applied


def test_nobody_waits_longer_than_a_minute(api: httpx.Client, store: JobStore) -> None:
    job_id = post(api)
    _, token = start(store, job_id)
    store.fail(job_id, token, FAILURE)
    assert get(api, job_id, prefer="wait=9999").headers["preference-applied"] == "wait=60"


def test_deleting_leaves_nothing(api: httpx.Client, store: JobStore, objects: ObjectStore) -> None:
    job_id, other = post(api), post(api)
    result = finish(store, objects, job_id)
    answer = api.delete(f"/panoramas/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(get(api, job_id), 404, "not_found")
    problem(api.delete(f"/panoramas/{job_id}"), 404, "not_found")
    assert not objects.exists(result.keys.image)
    assert not objects.exists(result.keys.preview)
    for status in (None, "succeeded"):
        query = {} if status is None else {"status": status}
        listed = [job["id"] for job in api.get("/panoramas", params=query).json()["items"]]
        assert listed == ([other] if status is None else [])


def test_what_has_not_ended_is_not_deleted(api: httpx.Client, store: JobStore) -> None:
    job_id = post(api)
    refused = problem(api.delete(f"/panoramas/{job_id}"), 409, "not_ended")
    assert "queued" in refused["detail"]
    start(store, job_id)
    problem(api.delete(f"/panoramas/{job_id}"), 409, "not_ended")
    api.post(f"/panoramas/{job_id}/cancel")
    waiting = post(api)
    api.post(f"/panoramas/{waiting}/cancel")
    assert api.delete(f"/panoramas/{waiting}").status_code == 204


def test_another_tenants_panorama_is_not_deleted(api: httpx.Client, store: JobStore) -> None:
    record = store.create(new_record(tenant="another"))
    problem(api.delete(f"/panoramas/{record.id}"), 404, "not_found")
    assert store.get(record.id).id == record.id
