"""OpenAI's images API: what its official Python client sends and expects, and refusals."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import Failure, JobRecord
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE
from tests.processes import wait_until
from tests.service.painter import paint_in_steps, painting
from tests.service.server import serving
from tests.service.steps import PICTURE, finish, start

TENANT = "ada"
IMAGES = "/v1/images/generations"
LOST = Failure.of(FailureCode.WORKER_LOST, attempts=3)


@pytest.fixture
def token(api: httpx.Client, redis: Redis) -> str:  # noqa: ARG001
    return ApiKeys(redis).create(TENANT, ("write",))[1]


@pytest.fixture
def client(api: httpx.Client, token: str) -> Iterator[openai.OpenAI]:
    """Unchanged but for base URL and key."""
    with openai.OpenAI(base_url=f"{api.base_url}/v1", api_key=token) as made:
        yield made


def post(
    api: httpx.Client, token: str, headers: dict[str, str] | None = None, **fields: object
) -> httpx.Response:
    """Without waiting for a picture that nobody makes."""
    sent = {"Authorization": f"Bearer {token}", "Prefer": "wait=0", **(headers or {})}
    return api.post(IMAGES, json={"prompt": "a hill", **fields}, headers=sent)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert (answer.status_code, error["code"]) == (status, code), answer.text
    assert error["message"]
    return dict(error)


def kept(store: JobStore) -> list[JobRecord]:
    return store.list(TENANT, None, 100).records


def test_a_picture_in_base64(client: openai.OpenAI, store: JobStore, objects: ObjectStore) -> None:
    with painting(store, objects):
        answer = client.images.generate(prompt="a hill", user="u-7")
    assert answer.data is not None
    (image,) = answer.data
    assert image.b64_json is not None
    assert (base64.b64decode(image.b64_json), image.url) == (PICTURE, None)
    (record,) = kept(store)
    assert (record.params.prompt, record.metadata) == ("a hill", {"user": "u-7"})
    assert record.finished_at is not None
    assert answer.created == int(record.finished_at.timestamp())
    assert (answer.output_format, answer.size) == ("png", "768x128")
    assert image.model_extra == {"id": record.id}


def test_several_as_urls(client: openai.OpenAI, store: JobStore, objects: ObjectStore) -> None:
    with painting(store, objects):
        answer = client.images.generate(
            prompt="a hill",
            model="embedded",
            n=3,
            size="384x128",
            response_format="url",
            output_format="jpeg",
            extra_body={"seed": 7},
        )
    assert answer.data is not None
    assert answer.size == "384x128"
    for image in answer.data:
        assert image.b64_json is None
        assert image.url is not None
        assert httpx.get(image.url, timeout=30).content == PICTURE
    records = kept(store)[::-1]
    assert [record.params.seed for record in records] == [7, 8, 9]
    assert [image.model_extra for image in answer.data] == [{"id": each.id} for each in records]
    for record in records:
        assert (record.params.width, record.params.height) == (384, 128)
        assert record.params.output.format == "jpeg"


def test_several_in_base64(client: openai.OpenAI, store: JobStore, objects: ObjectStore) -> None:
    with painting(store, objects):
        answer = client.images.generate(prompt="a hill", n=2, size="auto")
    assert answer.data is not None
    assert [base64.b64decode(each.b64_json or "") for each in answer.data] == [PICTURE, PICTURE]


def test_a_large_picture_arrives_whole(
    client: openai.OpenAI, store: JobStore, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = bytes(range(256)) * 1_001 + b"!"
    monkeypatch.setattr("tests.service.steps.PICTURE", large)
    with painting(store, objects):
        answer = client.images.generate(prompt="a hill")
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == large


@pytest.mark.parametrize(("most", "shown"), [(0, []), (1, [30]), (3, [20, 30, 40])])
def test_a_stream(
    client: openai.OpenAI,
    store: JobStore,
    objects: ObjectStore,
    looks: list[int],
    most: int,
    shown: list[int],
) -> None:
    with painting(store, objects, lambda job: paint_in_steps(store, objects, job, looks)):
        events = list(
            client.images.generate(
                prompt="a hill", stream=True, partial_images=most, size="384x128"
            )
        )
    *partial, completed = events
    for index, (event, step) in enumerate(zip(partial, shown, strict=True)):
        assert event.type == "image_generation.partial_image"
        assert event.partial_image_index == index
        assert base64.b64decode(event.b64_json) == b"preview %d" % step
        assert (event.output_format, event.size) == ("jpeg", "384x128")
    assert completed.type == "image_generation.completed"
    assert base64.b64decode(completed.b64_json) == PICTURE
    assert (completed.output_format, completed.quality) == ("png", "auto")
    assert completed.usage.total_tokens == completed.usage.input_tokens_details.text_tokens == 0
    assert completed.created_at > 1_700_000_000


def test_a_stream_ends_with_the_failure(
    client: openai.OpenAI, store: JobStore, objects: ObjectStore
) -> None:
    def fail(job: JobRecord) -> None:
        _, token = start(store, job.id)
        store.fail(job.id, token, FAILURE)

    with painting(store, objects, fail), pytest.raises(openai.APIError) as caught:
        list(client.images.generate(prompt="a hill", stream=True))
    assert (caught.value.code, caught.value.type) == ("panorama_failed", "server_error")
    assert "generation_failed" in caught.value.message
    assert len(kept(store)) == 1


def test_the_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == ("embedded", "model", "panoweave")


@pytest.mark.parametrize(("failure", "tries"), [(FAILURE, 1), (LOST, 3)])
def test_a_failure_is_tried_again_where_that_may_help(
    client: openai.OpenAI, store: JobStore, objects: ObjectStore, failure: Failure, tries: int
) -> None:
    def fail(job: JobRecord) -> None:
        _, token = start(store, job.id)
        store.fail(job.id, token, failure)

    with painting(store, objects, fail), pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(prompt="a hill")
    assert caught.value.code == "panorama_failed"
    assert len(kept(store)) == tries


def test_what_was_cancelled_is_not_made_again(
    client: openai.OpenAI, store: JobStore, objects: ObjectStore
) -> None:
    with (
        painting(store, objects, lambda job: store.request_cancel(job.id)),
        pytest.raises(openai.ConflictError) as caught,
    ):
        client.images.generate(prompt="a hill", n=2)
    assert caught.value.code == "panorama_cancelled"
    assert len(kept(store)) == 2


def test_a_wrong_request(client: openai.OpenAI, store: JobStore) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a hill", size="700x128")
    error = caught.value
    assert (error.code, error.param, error.type) == (
        *("invalid_params", "size"),
        "invalid_request_error",
    )
    assert "672 or 704" in error.message
    assert kept(store) == []


def test_a_wrong_key(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="sk-1234").images.generate(prompt="a hill")
    assert caught.value.code == "unauthorized"


def test_another_api_is_absent(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="embedded", input="a hill")
    assert caught.value.code == "unknown_path"


@pytest.mark.parametrize(
    ("fields", "field", "legal"),
    [
        ({"quality": "hd"}, "quality", "the fields prompt, model, n, size"),
        ({"steps": 10}, "steps", "There is no such field"),
        ({"prompt": ""}, "prompt", "1 to 2,000 characters"),
        ({"prompt": None}, "prompt", "text"),
        ({"model": "gpt-image-1"}, "model", "'embedded'"),
        ({"n": 11}, "n", "from 1 to 10"),
        ({"size": "large"}, "size", "'auto' or WIDTHxHEIGHT"),
        ({"size": "0x128"}, "size", "'auto' or WIDTHxHEIGHT"),
        ({"size": "99999x128"}, "size", "from 1 to 32768"),
        ({"size": "768x100"}, "size", "height: "),
        ({"size": "32768x32768"}, "size", "67,108,864 pixels"),
        ({"seed": -1}, "seed", "from 0"),
        ({"response_format": "file"}, "response_format", "'b64_json' or 'url'"),
        ({"output_format": "gif"}, "output_format", "'png' or 'jpeg' or 'webp'"),
        ({"output_format": "webp", "size": "16512x128"}, "output_format", "legal: 'png' or 'jpeg'"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"partial_images": 2}, "partial_images", "legal: 0"),
        ({"stream": True, "partial_images": 4}, "partial_images", "from 0 to 3"),
        ({"stream": True, "n": 2}, "n", "legal: 1"),
        ({"stream": True, "response_format": "url"}, "response_format", "'b64_json'"),
        ({"user": ""}, "user", "1 to 256 characters"),
    ],
)
def test_a_refusal_names_the_field(
    api: httpx.Client, token: str, store: JobStore, fields: dict[str, Any], field: str, legal: str
) -> None:
    error = refused(post(api, token, **fields), 400, "invalid_params")
    assert error["param"] == field
    assert legal in error["message"]
    assert kept(store) == []


def test_what_costs_too_much_names_the_size(
    api: httpx.Client, token: str, settings: Settings
) -> None:
    assert api  # the model is there
    with serving(settings.model_copy(update={"max_windows": 10})) as bounded:
        error = refused(post(bounded, token), 400, "invalid_params")
    assert error["param"] == "size"
    assert "a smaller size" in error["message"]


def test_null_is_as_absent(api: httpx.Client, token: str, store: JobStore) -> None:
    names = ("model", "n", "size", "seed", "response_format", "output_format", "user")
    answer = post(api, token, **dict.fromkeys((*names, "stream", "partial_images")))
    refused(answer, 409, "not_ended")
    assert len(kept(store)) == 1


def test_refusals_of_every_layer_have_the_shape(
    api: httpx.Client, token: str, settings: Settings, redis: Redis
) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    refused(api.post(IMAGES, json={"prompt": "a hill"}), 401, "unauthorized")
    refused(api.post(IMAGES, content=b"x", headers=bearer), 415, "unsupported_media_type")
    plain = {**bearer, "Content-Type": "application/json"}
    refused(api.post(IMAGES, content=b"x", headers=plain), 400, "malformed_json")
    assert refused(api.get(IMAGES, headers=bearer), 405, "method_not_allowed")
    refused(api.get("/v1/models", params={"x": "1"}, headers=bearer), 400, "invalid_params")
    refused(api.get("/v1/models", headers={"Host": "example.com"}), 421, "wrong_host")
    reader = ApiKeys(redis).create(TENANT, ("read",))[1]
    refused(post(api, reader), 403, "forbidden")
    with serving(settings.model_copy(update={"tenant_max_queued": 1})) as bounded:
        answer = post(bounded, token, n=2)
        assert refused(answer, 429, "tenant_queue_full")["type"] == "rate_limit_error"
        assert answer.headers["retry-after"]
    head = api.head("/v1/models")
    assert (head.status_code, head.headers["content-type"]) == (401, "application/json")


def test_an_unexpected_error_has_the_shape(api: httpx.Client, redis: Redis, token: str) -> None:
    redis.delete(redis_keys.MODELS)
    redis.set(redis_keys.MODELS, "no hash")
    answer = post(api, token, {"Connection": "close"})
    assert refused(answer, 500, "internal_error")["type"] == "server_error"
    redis.delete(redis_keys.MODELS)


def test_a_bounded_wait_goes_on_with_the_next_request(
    client: openai.OpenAI, api: httpx.Client, token: str, store: JobStore, objects: ObjectStore
) -> None:
    """The official client sends it again by itself: `X-Should-Retry` says that it may."""
    key = {"Idempotency-Key": "order-7"}
    first = post(api, token, key)
    refused(first, 409, "not_ended")
    assert first.headers["x-should-retry"] == "true"
    (record,) = kept(store)
    assert first.headers["location"] == f"/panoramas/{record.id}"
    made_soon = threading.Timer(1.2, lambda: finish(store, objects, record.id))
    made_soon.start()
    answer = client.images.generate(prompt="a hill", extra_headers={**key, "Prefer": "wait=1"})
    made_soon.join()
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "") == PICTURE
    assert len(kept(store)) == 1


def test_without_a_key_a_bounded_wait_is_not_repeated(api: httpx.Client, token: str) -> None:
    assert post(api, token).headers["x-should-retry"] == "false"


def test_a_stream_is_bounded_too(api: httpx.Client, token: str) -> None:
    event, _, data = post(api, token, stream=True).text.partition("\n")
    assert event == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "not_ended"


def test_it_is_the_request_to_panoramas(api: httpx.Client, token: str, store: JobStore) -> None:
    """One record, and one idempotency key, whichever way it came."""
    key = {"Idempotency-Key": "order-7"}
    post(api, token, key, seed=7)
    body = {"prompt": "a hill", "output": {"format": "png"}, "seed": 7, "n": 1}
    same = api.post("/panoramas", json=body, headers={**key, "Authorization": f"Bearer {token}"})
    assert (same.status_code, same.headers["idempotency-replayed"]) == (202, "true")
    assert [record.id for record in kept(store)] == [same.json()["id"]]


def test_the_panorama_is_made_after_its_client_has_gone(
    api: httpx.Client, token: str, store: JobStore, objects: ObjectStore
) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    with pytest.raises(httpx.ReadTimeout):
        api.post(IMAGES, json={"prompt": "a hill"}, headers=bearer, timeout=0.5)
    wait_until(lambda: bool(kept(store)), 30)
    (record,) = kept(store)
    finish(store, objects, record.id)
    assert api.get(f"/panoramas/{record.id}", headers=bearer).json()["status"] == "succeeded"
