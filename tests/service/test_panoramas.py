"""A panorama's life as a client sees it."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JOB_ID_PATTERN
from panoweave.core.jobs.store import JobStore
from panoweave.core.presets import DEFAULT_PRESET, PRESETS
from panoweave.worker.upload import describe
from tests.jobs.samples import FAILURE, progress, result_of
from tests.processes import wait_until
from tests.service.checks import at_fault, problem
from tests.service.steps import PICTURE, finish, post, start


def test_a_post_is_accepted_with_everything_filled_in(api: httpx.Client, queue: Queue) -> None:
    answer = api.post("/panoramas", json={"prompt": "a hill", "metadata": {"order": 7}})
    job = answer.json()
    assert answer.status_code == 202
    assert re.fullmatch(JOB_ID_PATTERN, job["id"])
    assert answer.headers["location"] == f"/panoramas/{job['id']}"
    assert int(answer.headers["retry-after"]) > 0
    assert job["status"] == "queued"
    assert job["queue_position"] == 0
    params = job["params"]
    assert (params["width"], params["height"], params["stride"]) == (768, 128, 32)
    assert isinstance(params["seed"], int)
    expected = PRESETS[DEFAULT_PRESET]["sync"]
    assert params["preset"] == DEFAULT_PRESET
    assert params["sync"]["weight"] == expected["weight"]
    assert params["sync"]["anchor"] == 10
    assert None not in params["sync"].values()
    assert job["metadata"] == {"order": 7}
    assert [job["result"], job["error"], job["started_at"]] == [None, None, None]
    assert queue.tickets("embedded").count == 1
    assert api.get(answer.headers["location"]).json() == job


def test_a_seed_that_was_asked_for_is_kept(api: httpx.Client) -> None:
    job_id = post(api, seed=2**53 - 1)
    assert api.get(f"/panoramas/{job_id}").json()["params"]["seed"] == 2**53 - 1


def test_progress_is_shown_while_it_runs(api: httpx.Client, store: JobStore) -> None:
    first, second = post(api), post(api)
    assert api.get(f"/panoramas/{second}").json()["queue_position"] == 1
    _, token = start(store, first)
    store.report(first, token, progress(10))
    job = api.get(f"/panoramas/{first}").json()
    assert job["status"] == "running"
    assert job["started_at"] >= job["created_at"]
    assert job["attempts"] == 1
    assert job["queue_position"] is None
    assert job["progress"] == {
        "phase": "denoising", "step": 10, "total_steps": 50, "fraction": 0.2, "eta_s": 40.0,
        "has_preview": False,
    }  # fmt: skip
    assert "token" not in job


def test_progress_is_never_null_while_running(api: httpx.Client, store: JobStore) -> None:
    """Before a worker's first report: the phase is `starting`, the step 0. In a list too, and at a
    second attempt."""
    job_id = post(api)
    _, token = start(store, job_id)

    def progress_of(job: dict[str, Any]) -> dict[str, Any]:
        assert job["status"] == "running"
        return dict(job["progress"])

    beginning = progress_of(api.get(f"/panoramas/{job_id}").json())
    assert (beginning["phase"], beginning["step"], beginning["fraction"]) == ("starting", 0, 0)
    assert beginning["total_steps"] == 50
    assert progress_of(api.get("/panoramas").json()["items"][0]) == beginning
    store.requeue(job_id, token, "preempted")
    start(store, job_id)
    again = progress_of(api.get(f"/panoramas/{job_id}").json())
    assert (again["phase"], again["step"]) == ("starting", 0)


def test_a_waiting_panorama_foretells_its_end_from_those_before(
    api: httpx.Client, store: JobStore
) -> None:
    done = post(api)
    assert api.get(f"/panoramas/{done}").json()["progress"]["eta_s"] is None
    record, token = start(store, done)
    time.sleep(0.5)
    took_s = store.succeed(done, token, result_of(record)).run_ms / 1_000
    waiting = [post(api), post(api)]
    etas_s = [api.get(f"/panoramas/{job_id}").json()["progress"]["eta_s"] for job_id in waiting]
    assert took_s >= 0.5
    assert etas_s == pytest.approx([took_s, 2 * took_s], abs=0.051)


def test_a_finished_panorama_is_downloaded_by_its_links(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    job_id = post(api)
    expected = finish(store, objects, job_id)
    job = api.get(f"/panoramas/{job_id}").json()
    assert job["status"] == "succeeded"
    assert job["progress"]["fraction"] == 1
    result = job["result"]
    assert result["coherence"] == expected.coherence
    assert "keys" not in result
    picture = httpx.get(result["image_url"], timeout=30)
    assert hashlib.sha256(picture.content).hexdigest() == result["sha256"]
    assert len(picture.content) == result["bytes"]
    assert f'filename="{job_id}.png"' in picture.headers["content-disposition"]
    assert httpx.get(result["preview_url"], timeout=30).status_code == 200


def test_the_image_is_a_redirect_to_a_fresh_link(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    job_id = post(api)
    refused = problem(api.get(f"/panoramas/{job_id}/image"), 409, "not_succeeded")
    assert "queued" in refused["detail"]
    finish(store, objects, job_id)
    answer = api.get(f"/panoramas/{job_id}/image")
    assert answer.status_code == 307
    assert answer.headers["cache-control"] == "no-store"
    assert api.get(f"/panoramas/{job_id}/image", follow_redirects=True).content == PICTURE


def test_the_preview_is_what_there_is_to_see(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    job_id = post(api)
    path = f"/panoramas/{job_id}/preview"
    problem(api.get(path), 409, "no_preview")
    record, token = start(store, job_id)
    answer = api.get(path)
    problem(answer, 409, "no_preview")
    assert int(answer.headers["retry-after"]) > 0
    for body, key in ((b"foreseen", record.keys.foreseen), (b"made", record.keys.preview)):
        objects.put(key, body, "image/jpeg", hashlib.sha256(body).hexdigest())
    assert api.get(path, follow_redirects=True).content == b"foreseen"
    store.succeed(job_id, token, result_of(record))
    assert api.get(path, follow_redirects=True).content == b"made"


def test_a_failed_panorama_says_why(api: httpx.Client, store: JobStore) -> None:
    job_id = post(api)
    _, token = start(store, job_id)
    store.fail(job_id, token, FAILURE)
    job = api.get(f"/panoramas/{job_id}").json()
    assert job["status"] == "failed"
    assert job["error"] == FAILURE.model_dump(mode="json")
    problem(api.get(f"/panoramas/{job_id}/image"), 409, "not_succeeded")


def test_a_failed_panorama_is_tried_again(
    api: httpx.Client, store: JobStore, queue: Queue, redis: Redis
) -> None:
    job_id = post(api)
    _, token = start(store, job_id)
    store.fail(job_id, token, FAILURE)
    redis.delete(queue.tickets("embedded").key)
    for _ in range(2):
        answer = api.post(f"/panoramas/{job_id}/retry")
        assert answer.status_code == 202
        assert (answer.json()["status"], answer.json()["error"]) == ("queued", None)
    assert queue.tickets("embedded").count == 1
    record, token = start(store, job_id)
    store.succeed(job_id, token, result_of(record))
    problem(api.post(f"/panoramas/{job_id}/retry"), 409, "not_failed")


def test_a_waiting_panorama_is_cancelled_at_once(api: httpx.Client) -> None:
    first, second = post(api), post(api)
    for _ in range(3):
        answer = api.post(f"/panoramas/{first}/cancel")
        assert answer.status_code == 200
        assert answer.json()["status"] == "cancelled"
    assert api.get(f"/panoramas/{second}").json()["queue_position"] == 0


def test_a_running_panorama_that_was_cancelled_never_succeeds(
    api: httpx.Client, store: JobStore
) -> None:
    job_id = post(api)
    record, token = start(store, job_id)
    asked = api.post(f"/panoramas/{job_id}/cancel").json()
    assert (asked["status"], asked["cancel_requested"]) == ("running", True)
    store.succeed(job_id, token, result_of(record))
    job = api.get(f"/panoramas/{job_id}").json()
    assert (job["status"], job["result"]) == ("cancelled", None)


def test_a_finished_panorama_stays_finished(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    job_id = post(api)
    finish(store, objects, job_id)
    assert api.post(f"/panoramas/{job_id}/cancel").json()["status"] == "succeeded"


def test_the_list_is_read_page_by_page(api: httpx.Client, store: JobStore) -> None:
    posted = [post(api) for _ in range(5)]
    start(store, posted[0])
    first = api.get("/panoramas", params={"limit": 3}).json()
    post(api)
    second = api.get("/panoramas", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    seen = [job["id"] for job in first["items"] + second["items"]]
    assert seen == sorted(posted, reverse=True)
    assert second["next_cursor"] is None
    running = api.get("/panoramas", params={"status": "running"}).json()["items"]
    assert [job["id"] for job in running] == [posted[0]]


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"),
                         ("status=done", "status")]
)  # fmt: skip
def test_a_list_that_cannot_be_is_refused(api: httpx.Client, query: str, field: str) -> None:
    assert at_fault(api.get(f"/panoramas?{query}"))["field"] == field


@pytest.mark.parametrize("path", ["", "/image"])
def test_an_unknown_panorama_is_404(api: httpx.Client, path: str) -> None:
    for job_id in ("pano_01jd0000000000000000000000", "nonsense"):
        problem(api.get(f"/panoramas/{job_id}{path}"), 404, "not_found")
    problem(api.post("/panoramas/nonsense/cancel"), 404, "not_found")


def test_the_prompt_gets_into_no_log(api: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        job_id = post(api, prompt="a secret garden")
        api.get(f"/panoramas/{job_id}")
        api.post("/panoramas", json={"prompt": "a secret garden", "width": 1})
    assert [record.name for record in caplog.records].count(
        "panoweave.service.http.access_log"
    ) == 3
    assert "secret garden" not in caplog.text


def test_a_fault_of_ours_is_a_problem_too_and_keeps_the_prompt(
    api: httpx.Client, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = post(api, prompt="a secret garden")
    redis.hset(redis_keys.job(job_id), "params", '{"prompt": "a secret garden"}')
    problem(api.get(f"/panoramas/{job_id}"), 500, "internal_error")
    wait_until(lambda: "TypeError" in caplog.text, 30)  # uvicorn logs it once it has answered
    assert "secret garden" not in caplog.text


def test_what_redis_has_forgotten_is_still_found(
    api: httpx.Client, store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    """From what lies beside the picture; to its own tenant, and until it is deleted."""
    job_id = post(api, metadata={"order": 7})
    result = finish(store, objects, job_id)
    body = describe(store.get(job_id), result)
    for attempt, text in ((1, body), (2, body), (10, b"cut off by a cr")):
        key = result.keys.metadata.replace("/1/", f"/{attempt}/")
        objects.put(key, text, "application/json", hashlib.sha256(text).hexdigest())
    before = api.get(f"/panoramas/{job_id}").json()
    redis.flushdb()
    problem(api.get(f"/panoramas/{job_id}"), 404, "not_found")  # the last one tells nothing
    objects.delete_prefix(result.keys.metadata.replace("/1/", "/10/"))
    after = api.get(f"/panoramas/{job_id}").json()
    ignored = ("finished_at", "started_at")
    assert {k: v for k, v in after.items() if k not in ignored} == {
        k: v for k, v in before.items() if k not in ignored
    }
    image = api.get(f"/panoramas/{job_id}/image", follow_redirects=True)
    assert image.content == PICTURE
    assert api.post(f"/panoramas/{job_id}/cancel").json() == after
    assert api.delete(f"/panoramas/{job_id}").status_code == 204
    problem(api.get(f"/panoramas/{job_id}"), 404, "not_found")
