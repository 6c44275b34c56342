"""One request for several panoramas."""

from __future__ import annotations

import threading

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.idempotency import Idempotency
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import DEFAULT_TENANT, new_job_id
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import MAX_SEED
from panoweave.service.http.idempotency import fingerprint
from panoweave.service.schemas import PanoramaRequest
from tests.jobs.samples import FAILURE
from tests.processes import wait_until
from tests.service.checks import at_fault, problem
from tests.service.pictures import inline, png
from tests.service.server import serving
from tests.service.steps import finish, start


def post(
    api: httpx.Client, n: int, headers: dict[str, str] | None = None, **fields: object
) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill", "n": n, **fields}, headers=headers)


def ids(answer: httpx.Response) -> list[str]:
    return [item["id"] for item in answer.json()["items"]]


def seeds(answer: httpx.Response) -> list[int]:
    return [item["params"]["seed"] for item in answer.json()["items"]]


def waiting(store: JobStore) -> int:
    return len(store.list(DEFAULT_TENANT, None, 100).records)


def test_each_is_a_panorama_of_its_own(api: httpx.Client, queue: Queue, redis: Redis) -> None:
    answer = post(api, 3, seed=7, metadata={"order": 7})
    assert answer.status_code == 202
    batch_id = answer.json()["batch_id"]
    assert answer.headers["location"] == f"/panoramas?batch_id={batch_id}"
    assert (seeds(answer), len(set(ids(answer)))) == ([7, 8, 9], 3)
    for place, item in enumerate(answer.json()["items"]):
        assert (item["batch_id"], item["queue_position"]) == (batch_id, place)
        assert api.get(f"/panoramas/{item['id']}").json() == item
    assert queue.waiting()[0].queued == 3
    assert redis.ttl(redis_keys.batch(batch_id)) == -1


def test_without_a_seed_each_has_another(api: httpx.Client) -> None:
    drawn = seeds(post(api, 4))
    assert len(set(drawn)) == 4
    assert drawn != list(range(drawn[0], drawn[0] + 4))


def test_one_is_no_batch(api: httpx.Client) -> None:
    answer = post(api, 1)
    assert "batch_id" not in answer.json()
    assert answer.headers["location"] == f"/panoramas/{answer.json()['id']}"


@pytest.mark.parametrize("n", [0, 11, 1.5, "2"])
def test_there_are_one_to_ten(api: httpx.Client, store: JobStore, n: object) -> None:
    error = at_fault(api.post("/panoramas", json={"prompt": "a hill", "n": n}))
    assert error["field"] == "n"
    assert "from 1 to 10" in error["legal"]
    assert waiting(store) == 0


def test_seeds_do_not_count_beyond_the_last(api: httpx.Client, store: JobStore) -> None:
    error = at_fault(post(api, 3, seed=MAX_SEED - 1))
    assert (error["field"], error["legal"]) == ("seed", f"a whole number from 0 to {MAX_SEED - 2}")
    assert seeds(post(api, 3, seed=MAX_SEED - 2))[-1] == MAX_SEED
    assert waiting(store) == 3


def test_a_batch_is_listed(api: httpx.Client, store: JobStore, objects: ObjectStore) -> None:
    answer = post(api, 3)
    post(api, 2)
    batch = {"batch_id": answer.json()["batch_id"]}
    newest_first = ids(answer)[::-1]
    page = api.get("/panoramas", params=batch).json()
    assert [item["id"] for item in page["items"]] == newest_first
    first = api.get("/panoramas", params={**batch, "limit": "2"}).json()
    rest = api.get("/panoramas", params={**batch, "cursor": first["next_cursor"]}).json()
    found = [item["id"] for part in (first, rest) for item in part["items"]]
    assert (found, rest["next_cursor"]) == (newest_first, None)
    finish(store, objects, ids(answer)[0])
    succeeded = api.get("/panoramas", params={**batch, "status": "succeeded"}).json()
    assert [item["id"] for item in succeeded["items"]] == ids(answer)[:1]


def test_another_tenants_batch_is_empty(api: httpx.Client, store: JobStore, redis: Redis) -> None:
    batch_id = post(api, 2).json()["batch_id"]
    assert len(store.list(DEFAULT_TENANT, batch_id=batch_id).records) == 2
    assert store.list("ada", batch_id=batch_id).records == []
    assert redis.exists(redis_keys.batch(batch_id))


@pytest.mark.parametrize("limit", ["max_queued", "tenant_max_queued"])
def test_all_are_accepted_or_none(
    api: httpx.Client,  # noqa: ARG001
    store: JobStore,
    objects: ObjectStore,
    settings: Settings,
    limit: str,
) -> None:
    with serving(settings.model_copy(update={limit: 3})) as bounded:
        assert post(bounded, 4, anchor_image=inline(png())).status_code == 429
        assert (waiting(store), objects.list("")) == (0, [])
        assert post(bounded, 3).status_code == 202
        assert post(bounded, 1).status_code == 429
    assert waiting(store) == 3


def test_their_bytes_are_counted_together(
    api: httpx.Client, store: JobStore, redis: Redis, settings: Settings
) -> None:
    post(api, 1)
    (kept,) = map(int, redis.hvals(redis_keys.KEPT_BYTES))
    with serving(settings.model_copy(update={"tenant_max_bytes": 3 * kept})) as bounded:
        problem(post(bounded, 3), 429, "tenant_bytes_full")
        assert waiting(store) == 1
        assert post(bounded, 1).status_code == 202


def test_each_counts_as_a_request(
    api: httpx.Client,  # noqa: ARG001
    settings: Settings,
    store: JobStore,
) -> None:
    with serving(settings.model_copy(update={"tenant_writes_per_minute": 5})) as bounded:
        answer = post(bounded, 4)
        assert (answer.status_code, answer.headers["ratelimit"][:11]) == (202, '"write";r=1')
        refused = post(bounded, 3)
        problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 1
    assert waiting(store) == 4


def test_more_than_a_minute_allows_are_never_accepted(
    api: httpx.Client,  # noqa: ARG001
    settings: Settings,
) -> None:
    with serving(settings.model_copy(update={"tenant_writes_per_minute": 3})) as bounded:
        error = at_fault(post(bounded, 4))
        assert (error["field"], error["legal"]) == ("n", "1 to 3")


def test_each_has_pictures_of_its_own(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    first, second = ids(post(api, 2, anchor_image=inline(png())))
    for job_id in (first, second):
        picture = store.get(job_id).params.anchor_image
        assert picture is not None
        assert picture.key == f"default/{job_id}/inputs/anchor_image.png"
    api.post(f"/panoramas/{first}/cancel")
    assert api.delete(f"/panoramas/{first}").status_code == 204
    assert objects.list("") == [f"default/{second}/inputs/anchor_image.png"]


def test_an_answer_is_repeated_whole(api: httpx.Client, store: JobStore) -> None:
    key = {"Idempotency-Key": "order-7"}
    answer = post(api, 3, key, metadata={"order": 7})
    start(store, ids(answer)[0])
    again = post(api, 3, key, metadata={"order": 7})
    assert (again.status_code, again.content) == (202, answer.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == answer.headers["location"]
    problem(post(api, 2, key, metadata={"order": 7}), 422, "idempotency_key_reused")
    assert waiting(store) == 3


def test_a_process_that_dies_before_its_answer_makes_no_second_batch(
    api: httpx.Client, store: JobStore, redis: Redis
) -> None:
    """The jobs are created in one step, and their ids follow from the one that is remembered."""
    made = post(api, 3).json()
    request = PanoramaRequest.model_validate({"prompt": "a hill", "n": 3})
    first = made["items"][0]["id"]
    Idempotency(redis).begin(DEFAULT_TENANT, "order-7", fingerprint(request), first)
    (key,) = redis.scan_iter(redis_keys.idempotency("*", "*"))
    redis.hset(key, "leased_until", 0)  # as if its lease had passed
    answer = post(api, 3, {"Idempotency-Key": "order-7"})
    assert answer.json() == made  # with the seeds that were drawn at first
    assert waiting(store) == 3


def test_a_process_that_dies_before_its_jobs_are_made_leaves_none(
    api: httpx.Client, store: JobStore, redis: Redis
) -> None:
    request = PanoramaRequest.model_validate({"prompt": "a hill", "n": 3})
    chosen = new_job_id()
    Idempotency(redis).begin(DEFAULT_TENANT, "order-7", fingerprint(request), chosen)
    (key,) = redis.scan_iter(redis_keys.idempotency("*", "*"))
    redis.hset(key, "leased_until", 0)
    assert ids(post(api, 3, {"Idempotency-Key": "order-7"}))[0] == chosen
    assert waiting(store) == 3


def test_of_a_batch_that_lost_one_nothing_is_repeated(api: httpx.Client, store: JobStore) -> None:
    key = {"Idempotency-Key": "order-7"}
    _, second, _ = ids(post(api, 3, key))
    api.post(f"/panoramas/{second}/cancel")
    assert api.delete(f"/panoramas/{second}").status_code == 204
    gone = problem(post(api, 3, key), 404, "not_found")
    assert second in gone["detail"]
    assert waiting(store) == 2


def test_a_post_waits_until_all_have_ended(
    api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    def make() -> None:
        wait_until(lambda: waiting(store) == 2, 30)
        second, first = store.list(DEFAULT_TENANT).records
        finish(store, objects, first.id)
        _, token = start(store, second.id)
        store.fail(second.id, token, FAILURE)

    worker = threading.Thread(target=make)
    worker.start()
    answer = post(api, 2, {"Prefer": "wait=20"})
    worker.join()
    assert answer.status_code == 200
    assert [item["status"] for item in answer.json()["items"]] == ["succeeded", "failed"]
    assert answer.headers["preference-applied"] == "wait=20"
    assert post(api, 2, {"Prefer": "wait=0"}).status_code == 202


def test_a_batch_is_forgotten_with_the_last_of_its_records(
    api: httpx.Client, store: JobStore, objects: ObjectStore, redis: Redis
) -> None:
    answer = post(api, 2)
    first, second = ids(answer)
    key = redis_keys.batch(answer.json()["batch_id"])
    _, token = start(store, first)
    failed = store.fail(first, token, FAILURE)
    assert redis.ttl(key) == -1  # the second has not ended
    finish(store, objects, second)
    assert redis.ttl(key) > 0
    store.retry(failed)
    assert redis.ttl(key) == -1
    api.post(f"/panoramas/{first}/cancel")
    assert redis.ttl(key) > 0
