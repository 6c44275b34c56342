"""The Python client against the API on a real uvicorn, Redis and S3, with steps of a worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from panoweave_client import (
    ApiError,
    AsyncPanoweave,
    ConnectionFailed,
    Event,
    PanoramaFailed,
    Panoweave,
    UnexpectedAnswer,
    WebhookRefused,
    verify_webhook,
)
from panoweave_client.answers import BatchMessage, PingMessage, WebhookMessage
from tests.jobs.samples import FAILURE
from tests.service.client.cutting import cutting, serving_requests
from tests.service.client.webhooks import SECRET, batch_message, message, ping_message, signed
from tests.service.client.worker import in_background, when_submitted, with_events
from tests.service.pictures import png
from tests.service.steps import PICTURE, finish, post, start


@pytest.fixture
def client(api: httpx.Client) -> Iterator[Panoweave]:
    with Panoweave(str(api.base_url), retry_for_s=5) as opened:
        yield opened


def test_a_panorama_is_made_and_downloaded(
    client: Panoweave, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    worker = when_submitted(store, lambda job_id: finish(store, objects, job_id))
    seen: list[str] = []
    panorama = client.make(
        idempotency_key="order-7",
        on_event=lambda event: seen.append(event.event),
        prompt="a hill",
        width=256,
        seed=7,
    )
    worker.join()
    assert panorama.status == "succeeded"
    assert (panorama.params.width, panorama.params.seed) == (256, 7)
    assert seen == ["created", "started", "succeeded"]
    again = client.make(idempotency_key="order-7", prompt="a hill", width=256, seed=7)
    assert again.id == panorama.id
    target = client.download(panorama.id, tmp_path / "hill.png")
    assert panorama.result is not None
    assert hashlib.sha256(target.read_bytes()).hexdigest() == panorama.result.sha256
    assert [file.name for file in tmp_path.iterdir()] == ["hill.png"]
    assert client.image(panorama.id, redirect=False) == PICTURE


def test_the_same_without_blocking(
    api: httpx.Client, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    async def make() -> tuple[list[str], bytes]:
        async with AsyncPanoweave(str(api.base_url)) as client:
            panorama = await client.submit(prompt="a hill")
            worker = in_background(lambda: finish(store, objects, panorama.id))
            seen = [event.event async for event in client.watch(panorama.id)]
            ended = await client.wait(panorama.id)
            assert ended.status == "succeeded"
            listed = [each.id async for each in client.list(limit=1)]
            assert listed == [panorama.id]
            file = await client.download(panorama.id, tmp_path / "hill.png")
            worker.join()
            return seen, file.read_bytes()

    assert asyncio.run(make()) == (["created", "started", "succeeded"], PICTURE)


def test_a_failed_panorama_says_why(client: Panoweave, store: JobStore) -> None:
    def fail(job_id: str) -> None:
        _, token = start(store, job_id)
        store.fail(job_id, token, FAILURE)

    worker = when_submitted(store, fail)
    with pytest.raises(PanoramaFailed, match=FAILURE.code) as failed:
        client.make(prompt="a hill")
    worker.join()
    assert failed.value.code == FAILURE.code
    assert failed.value.retryable == FAILURE.retryable
    assert client.retry(failed.value.panorama.id).status == "queued"


def test_a_cancelled_one_is_not_waited_for(client: Panoweave) -> None:
    panorama = client.submit(prompt="a hill")
    assert client.cancel(panorama.id).status == "cancelled"
    assert client.wait(panorama.id).status == "cancelled"
    client.delete(panorama.id)
    with pytest.raises(ApiError) as gone:
        client.get(panorama.id)
    assert (gone.value.status, gone.value.code) == (404, "not_found")


def test_waiting_ends_after_the_time_given(client: Panoweave) -> None:
    panorama = client.submit(prompt="a hill")
    with pytest.raises(TimeoutError, match=panorama.id):
        client.wait(panorama.id, timeout_s=0)


def test_a_refusal_names_the_field_and_what_is_legal(client: Panoweave) -> None:
    with pytest.raises(ApiError) as refused:
        client.submit(prompt="a hill", width=700)
    assert (refused.value.status, refused.value.code) == (422, "invalid_params")
    (error,) = refused.value.errors
    assert error.field == "width"
    assert error.legal is not None
    assert "672 or 704" in error.legal
    assert "width: " in str(refused.value)
    assert error.legal in str(refused.value)
    assert refused.value.request_id


def test_a_misspelt_field_is_refused_by_mypy_and_by_the_service(client: Panoweave) -> None:
    with pytest.raises(ApiError, match="widht"):
        client.submit(prompt="a hill", widht=256)  # type: ignore[call-arg]


def test_an_answer_that_gets_lost_makes_no_second_panorama(
    api: httpx.Client, store: JobStore
) -> None:
    with cutting(api, [0]) as url, Panoweave(url) as client:
        panorama = client.submit(prompt="a hill")
    assert [record.id for record in store.list("default").records] == [panorama.id]


def test_two_calls_with_one_key_are_one_panorama(client: Panoweave) -> None:
    first, again = (client.submit(prompt="a hill", idempotency_key="order-7") for _ in range(2))
    assert first.id == again.id
    assert client.submit(prompt="a hill").id != client.submit(prompt="a hill").id


def test_a_batch_is_several_panoramas(client: Panoweave) -> None:
    batch = client.submit_batch(prompt="a hill", seed=7, n=3)
    assert [panorama.params.seed for panorama in batch] == [7, 8, 9]
    (batch_id,) = {panorama.batch_id for panorama in batch}
    assert batch_id is not None
    listed = {panorama.id for panorama in client.list(batch_id=batch_id)}
    assert listed == {panorama.id for panorama in batch}
    (single,) = client.submit_batch(prompt="a hill")
    assert single.batch_id is None
    with pytest.raises(ValueError, match="submit_batch"):
        client.submit(prompt="a hill", n=2)


def followed(url: str, job_id: str) -> list[Event]:
    with Panoweave(url) as client:
        return list(client.watch(job_id))


async def followed_async(url: str, job_id: str) -> list[Event]:
    async with AsyncPanoweave(url) as client:
        return [event async for event in client.watch(job_id)]


def test_events_go_on_after_lost_connections(
    client: Panoweave, api: httpx.Client, store: JobStore
) -> None:
    job_id = with_events(store, client.submit(prompt="a hill").id)
    whole = followed(str(api.base_url), job_id)
    names = [event.event for event in whole]
    assert names[:3] == ["created", "started", "progress"]
    assert names[-1] == "failed"
    assert whole[2].progress is not None
    assert whole[2].progress.total_steps == 50
    header_bytes = 1_000
    # Before any event, amid the first ones, and amid those that follow.
    with cutting(api, [0, header_bytes, header_bytes + 200]) as url:
        assert followed(url, job_id) == whole
    with cutting(api, [0, header_bytes, header_bytes + 200]) as url:
        assert asyncio.run(followed_async(url, job_id)) == whole
    assert list(client.watch(job_id, last_event_id=whole[-2].id)) == whole[-1:]
    assert list(client.watch(job_id, last_event_id=whole[-1].id)) == []


def test_a_silent_stream_is_kept_open(
    api: httpx.Client, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By comments, which are no events: a panorama can wait for long between two of these."""
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    silent_s = 1.0
    for follow in (followed, lambda *asked: asyncio.run(followed_async(*asked))):
        job_id = post(api)
        later = threading.Timer(silent_s, with_events, (store, job_id))
        later.start()
        events = follow(str(api.base_url), job_id)
        later.join()
        names = [event.event for event in events]
        assert names == ["created", "started", *["progress"] * 3, "failed"]
    job_id = post(api)
    with api.stream("GET", f"/panoramas/{job_id}/events") as answer:
        assert ": ping" in answer.iter_lines()


def test_a_download_that_breaks_off_is_fetched_again(
    client: Panoweave, api: httpx.Client, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    panorama = client.submit(prompt="a hill")
    finish(store, objects, panorama.id)
    with cutting(api, [1_000]) as url, Panoweave(url) as cut:
        cut.download(panorama.id, tmp_path / "hill.png", redirect=False)
    assert (tmp_path / "hill.png").read_bytes() == PICTURE


def test_a_service_that_is_away_is_said_so(tmp_path: Path) -> None:
    with Panoweave("http://127.0.0.1:9", retry_for_s=0) as client:
        for call in (
            lambda: client.submit(prompt="a hill"),
            lambda: list(client.watch("pano_0")),
            lambda: client.download("pano_0", tmp_path / "hill.png"),
        ):
            with pytest.raises(ConnectionFailed, match=re.escape("127.0.0.1:9")):
                call()
    assert not list(tmp_path.iterdir())


def test_an_address_without_a_scheme_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="must begin with http://"):
        Panoweave("127.0.0.1:8000")


def test_what_is_not_the_service_is_said_so() -> None:
    """Such as a proxy's page, or a file server's."""

    class Page(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 404 if self.path == "/models" else 200
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"<h1>Hello")

        def log_message(self, *_: object) -> None:
            pass

    with serving_requests(Page) as url, Panoweave(url, retry_for_s=0) as client:
        with pytest.raises(UnexpectedAnswer, match="it answered text/html"):
            list(client.watch("pano_0"))
        with pytest.raises(ApiError, match="404: <h1>Hello") as refused:
            client.models()
        with pytest.raises(UnexpectedAnswer, match="not panoweave"):
            client.get("pano_0")
    assert refused.value.code is None


def test_an_uploaded_picture_is_used(client: Panoweave, tmp_path: Path) -> None:
    picture = png((128, 128))
    (tmp_path / "anchor.png").write_bytes(picture)
    for given in (picture, tmp_path / "anchor.png"):
        panorama = client.submit(prompt="a hill", anchor_image=client.upload(given))
        assert panorama.params.anchor_image is not None
        assert panorama.params.anchor_image.key


def test_lists_go_over_all_pages(client: Panoweave) -> None:
    made = [client.submit(prompt="a hill").id for _ in range(5)]
    assert [each.id for each in client.list(limit=2)] == made[::-1]
    assert list(client.list(status=["failed"])) == []
    assert len(client.list_page(limit=2).items) == 2


def test_what_a_newer_service_answers_is_kept() -> None:
    answered = {"status": "postponed", "attempt": 1, "weather": "fine", "id": "1-0", "event": "x"}
    event = Event.model_validate(answered)
    assert event.status == "postponed"
    assert event.model_dump(include={"weather"}) == {"weather": "fine"}


def test_a_webhook_is_used_only_with_its_signature() -> None:
    body = json.dumps(message())
    now = datetime.now(UTC)
    verified = verify_webhook(body.encode(), signed(body, now), SECRET)
    assert isinstance(verified, WebhookMessage)
    assert (verified.type, verified.data.id) == ("panorama.cancelled", "pano_1")
    assert verified.data.metadata == {"order": 7}
    old = datetime.fromtimestamp(now.timestamp() - 3_600, UTC)
    for headers, sent in (
        (signed(body, now), body.replace("pano_1", "pano_2")),
        (signed(body, old), body),
        ({}, body),
        (signed(body, now) | {"Webhook-Signature": "v1,not base64"}, body),
        (signed(body, now) | {"Webhook-Signature": "nonsense"}, body),
    ):
        with pytest.raises(WebhookRefused):
            verify_webhook(sent.encode(), headers, SECRET)


def test_a_batchs_webhook_is_read_too() -> None:
    body = json.dumps(batch_message())
    verified = verify_webhook(body.encode(), signed(body, datetime.now(UTC)), SECRET)
    assert isinstance(verified, BatchMessage)
    assert (verified.data.id, verified.data.items[0].status) == ("batch_1", "cancelled")


def test_a_ping_is_read_too() -> None:
    body = json.dumps(ping_message())
    verified = verify_webhook(body.encode(), signed(body, datetime.now(UTC)), SECRET)
    assert isinstance(verified, PingMessage)
    assert (verified.type, verified.data.tenant) == ("webhook.ping", "ada")


def test_the_key_goes_to_the_service_only(
    api: httpx.Client, redis: Redis, store: JobStore, objects: ObjectStore
) -> None:
    _, key = ApiKeys(redis).create("default", ("write",))
    asked: list[tuple[bytes, bool]] = []
    with Panoweave(str(api.base_url), key) as client:
        client._http.event_hooks["request"].append(
            lambda request: asked.append((request.url.netloc, "authorization" in request.headers))
        )
        anchor = client.upload(png((128, 128)))
        panorama = client.submit(prompt="a hill", anchor_image=anchor)
        finish(store, objects, panorama.id)
        assert client.image(panorama.id) == PICTURE
    service = api.base_url.netloc
    assert {has_key for where, has_key in asked if where == service} == {True}
    assert {has_key for where, has_key in asked if where != service} == {False}
