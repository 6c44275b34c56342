"""A POST that is sent several times."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import OtherRequest, StillInFlight
from panoweave.core.jobs.idempotency import Idempotency
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import DEFAULT_TENANT
from panoweave.core.jobs.store import JobStore
from panoweave.service.http import idempotency
from panoweave.service.http.idempotency import fingerprint
from panoweave.service.schemas import PanoramaRequest
from tests.jobs.samples import start_job
from tests.service.checks import at_fault, problem
from tests.service.pictures import inline, png
from tests.service.server import publish_model, serving

SAME = fingerprint(PanoramaRequest.model_validate({"prompt": "a hill"}))


def post(api: httpx.Client, key: str, **fields: object) -> httpx.Response:
    body = {"prompt": "a hill", **fields}
    return api.post("/panoramas", json=body, headers={"Idempotency-Key": key})


def failing_post(api: httpx.Client, key: str) -> httpx.Response:
    """After an unexpected error uvicorn closes the connection, so it must not be used again."""
    headers = {"Idempotency-Key": key, "Connection": "close"}
    return api.post("/panoramas", json={"prompt": "a hill"}, headers=headers)


def count(store: JobStore) -> int:
    return len(store.list(DEFAULT_TENANT, None, 100, None).records)


def test_a_hundred_equal_posts_at_once_make_one_job(
    api: httpx.Client, store: JobStore, queue: Queue
) -> None:
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: post(api, "order-7"), range(100)))
    assert Counter(answer.status_code for answer in answers) == {202: 100}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert (count(store), queue.tickets("embedded").count) == (1, 1)
    replayed = Counter(answer.headers.get("idempotency-replayed") for answer in answers)
    assert replayed == {None: 1, "true": 99}


def test_the_answer_stays_what_it_was(api: httpx.Client, store: JobStore) -> None:
    first = post(api, "order-7", metadata={"a": 1, "b": 2})
    start_job(store, first.json()["id"], "worker-1")
    respelt = b'{ "metadata": {"b": 2, "a": 1},  "prompt": "a hill" }'
    headers = {"Idempotency-Key": "order-7", "Content-Type": "application/json"}
    again = api.post("/panoramas", content=respelt, headers=headers)
    assert (again.status_code, again.content) == (202, first.content)
    assert count(store) == 1


def test_another_body_is_refused(api: httpx.Client, store: JobStore) -> None:
    post(api, "order-7")
    problem(post(api, "order-7", seed=1), 422, "idempotency_key_reused")
    assert count(store) == 1
    assert post(api, "order-8", seed=1).status_code == 202


def test_false_is_not_the_same_as_nothing(api: httpx.Client) -> None:
    """The default may be the checkpoint's."""
    post(api, "order-7")
    problem(post(api, "order-7", perturbed_attention=False), 422, "idempotency_key_reused")


def test_without_a_key_every_post_is_a_new_one(api: httpx.Client, store: JobStore) -> None:
    for _ in range(2):
        assert api.post("/panoramas", json={"prompt": "a hill"}).status_code == 202
    assert count(store) == 2


def test_a_refused_request_does_not_use_its_key_up(api: httpx.Client, store: JobStore) -> None:
    assert at_fault(post(api, "order-7", width=130))["field"] == "width"
    assert post(api, "order-7", width=256).status_code == 202
    assert count(store) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
def test_a_key_is_text_without_spaces(api: httpx.Client, store: JobStore, key: str) -> None:
    error = at_fault(post(api, key))
    assert error["field"] == "idempotency-key"
    assert count(store) == 0


def test_while_the_first_is_carried_out_others_are_refused_after_a_wait(
    api: httpx.Client, redis: Redis, store: JobStore
) -> None:
    Idempotency(redis).begin(DEFAULT_TENANT, "order-7", SAME, "pano_1")
    answer = post(api, "order-7")
    problem(answer, 409, "idempotency_key_in_flight")
    assert int(answer.headers["retry-after"]) > 0
    assert count(store) == 0


def test_what_a_dead_process_began_is_ended_by_the_next(
    api: httpx.Client, redis: Redis, store: JobStore
) -> None:
    """With the id of the job that it may have made: it is not made twice."""
    made = api.post("/panoramas", json={"prompt": "a hill"}).json()
    Idempotency(redis).begin(DEFAULT_TENANT, "order-7", SAME, made["id"])
    (key,) = redis.scan_iter(redis_keys.idempotency("*", "*"))
    redis.hset(key, "leased_until", 0)  # as if its lease had passed
    answer = post(api, "order-7")
    assert answer.status_code == 202
    assert answer.json() == made
    assert count(store) == 1


def test_what_found_no_store_is_sent_again_at_once(
    api: httpx.Client, store: JobStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is carried out, once."""
    picture = {"anchor_image": inline(png())}
    with serving(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})) as cut_off:
        problem(post(cut_off, "order-7", **picture), 503, "storage_unavailable")
    monkeypatch.setattr(idempotency, "_MAX_WAIT_S", -1)  # a key in use is refused at once
    assert post(api, "order-7", **picture).status_code == 202
    assert count(store) == 1


def test_what_failed_unexpectedly_is_sent_again_at_once(
    api: httpx.Client, redis: Redis, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis holds a key of another type in place of the models."""
    redis.delete(redis_keys.MODELS)
    redis.set(redis_keys.MODELS, "no hash")
    problem(failing_post(api, "order-7"), 500, "internal_error")
    redis.delete(redis_keys.MODELS)
    publish_model(redis)
    monkeypatch.setattr(idempotency, "_MAX_WAIT_S", -1)  # a key in use is refused at once
    assert post(api, "order-7").status_code == 202
    assert count(store) == 1


def test_keys_belong_to_their_owners_and_are_kept_for_a_day(redis: Redis) -> None:
    known = Idempotency(redis)
    assert known.begin("ada", "order-7", "one", "pano_1").job_id == "pano_1"
    assert known.begin("bob", "order-7", "two", "pano_2").job_id == "pano_2"
    with pytest.raises(StillInFlight):
        known.begin("ada", "order-7", "one", "pano_3")
    with pytest.raises(OtherRequest):
        known.begin("ada", "order-7", "two", "pano_3")
    known.finish("ada", "order-7", "done")
    assert known.begin("ada", "order-7", "one", "pano_3").answer == "done"
    for key in redis.scan_iter(redis_keys.idempotency("*", "*")):
        assert 86_390 < redis.ttl(key) <= 86_400
    known.forget("ada", "order-7")
    assert known.begin("ada", "order-7", "two", "pano_4").job_id == "pano_4"


def test_nothing_of_a_deleted_panorama_is_left_to_be_repeated(
    api: httpx.Client, redis: Redis
) -> None:
    """Nor is it made again."""
    job_id = post(api, "order-7", prompt="a secret garden").json()["id"]
    api.post(f"/panoramas/{job_id}/cancel")
    assert api.delete(f"/panoramas/{job_id}").status_code == 204
    problem(post(api, "order-7", prompt="a secret garden"), 404, "not_found")
    hashes = list(redis.scan_iter(_type="hash"))
    assert hashes
    assert "secret garden" not in str([redis.hgetall(key) for key in hashes])
