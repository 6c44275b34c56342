"""S3 is away: what is in hand waits for it, and nothing is begun that would have to."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from panoweave.core.image_reader import MAX_IMAGE_BYTES
from panoweave.core.infra.errors import NoSuchObject, ObjectStoreError
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.params import PanoramaParams, ResolvedParams
from panoweave.deploy.local.servers import S3Server
from panoweave.worker import job, upload
from panoweave.worker.job import WorkerContext, fetch_images, run_next_job
from tests.conftest import S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY
from tests.processes import wait_until
from tests.s3_dialects import s3_that_speaks
from tests.worker.attempts import at_step, run

Post = Callable[..., JobRecord]


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(
        tmp_path / "data",
        tmp_path / "logs",
        bucket="panoweave",
        access_key_id=S3_ACCESS_KEY_ID,
        secret_access_key=S3_SECRET_ACCESS_KEY,
    ) as server:
        yield server
        server.child.kill()  # nobody reads this data again, and a clean end takes it seconds


@pytest.fixture
def here(
    context: WorkerContext, own_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkerContext]:
    """On a server of its own, with shorter retries."""
    monkeypatch.setattr(upload, "RETRY_FOR_S", 0.1)
    monkeypatch.setattr(job, "STORAGE_WAIT_S", 0.1)
    settings = context.settings.model_copy(update={"s3_endpoint": own_s3.endpoint})
    objects = ObjectStore(settings)
    made = dataclasses.replace(
        context, settings=settings, objects=objects, stopping=threading.Event()
    )
    yield made
    made.stopping.set()
    objects.close()


def test_those_that_wait_go_on_waiting(here: WorkerContext, post: Post, own_s3: S3Server) -> None:
    first, second = post(), post()
    own_s3.child.kill()
    with ThreadPoolExecutor(1) as worker:
        try:
            turn = worker.submit(run_next_job, here)
            wait_until(lambda: here.store.get(first.id).status is Status.FAILED, 60)
            error = here.store.get(first.id).error
            assert error is not None
            assert error.code is FailureCode.STORAGE_UNAVAILABLE
            with pytest.raises(TimeoutError):
                turn.result(3)
            assert here.store.get(second.id).status is Status.QUEUED
            own_s3.start()
            turn.result(60)
        finally:
            here.stopping.set()
    here.stopping.clear()
    assert here.queue.tickets("embedded").count == 1  # it has called for the next
    assert here.objects.list("") == []
    run_next_job(here)
    assert here.store.get(second.id).status is Status.SUCCEEDED


def test_who_may_write_but_not_delete_goes_on(
    here: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str) -> None:
        raise ObjectStoreError(f"{key}: AccessDenied")

    monkeypatch.setattr(here.objects, "delete", refuse)
    job.wait_for_storage(here, post())


def test_whoever_is_asked_to_leave_waits_no_longer(
    here: WorkerContext, post: Post, own_s3: S3Server
) -> None:
    record = post()
    own_s3.child.kill()
    with ThreadPoolExecutor(1) as worker:
        try:
            turn = worker.submit(run_next_job, here)
            wait_until(lambda: here.store.get(record.id).status is Status.FAILED, 60)
        finally:
            here.stopping.set()
        turn.result(30)


def test_whoever_is_asked_to_leave_gives_back_what_s3_did_not_take(
    here: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent S3 may hold one call for as long as all tries may take together."""

    def be_silent(key: str, *_: object) -> None:
        if key.endswith("panorama.png"):
            here.stopping.set()
            raise ObjectStoreError(f"{key}: Read timeout")

    monkeypatch.setattr(upload, "RETRY_FOR_S", 0.0)
    monkeypatch.setattr(here.objects, "put", be_silent)
    ended = run(here, post())
    assert ended is not None
    assert (ended.status, ended.error, ended.lost_attempts) == (Status.QUEUED, None, 0)
    assert here.savepoints.load(ended.id) is not None


def test_s3_away_for_good_fails_with_a_code(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "RETRY_FOR_S", 0.5)
    nowhere = context.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    ended = run(dataclasses.replace(context, objects=ObjectStore(nowhere)), post())
    assert ended is not None
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error.code is FailureCode.STORAGE_UNAVAILABLE
    assert ended.error.retryable


def test_s3_away_for_a_while_costs_no_step(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished picture waits for S3; nothing is computed again."""
    monkeypatch.setattr(upload, "RETRY_EVERY_S", 0.1)
    steps: list[int] = []
    at_step(1, lambda: steps.append(1), monkeypatch)
    nowhere = ObjectStore(context.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    real_put = context.objects.put
    refused: list[tuple[str, ...]] = []

    def put(*arguments: str) -> None:
        if len(refused) < 2:
            refused.append(arguments)
            nowhere.put(*arguments)  # type: ignore[arg-type]
        real_put(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(context.objects, "put", put)
    ended = run(context, post())
    assert ended is not None
    assert ended.status is Status.SUCCEEDED
    assert len(refused) == 2
    assert steps == [1]


def test_a_picture_that_comes_with_the_request_is_waited_for(
    context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as S3 says nothing; that it is not there is an answer."""
    monkeypatch.setattr(upload, "RETRY_EVERY_S", 0.05)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
    body, key = buffer.getvalue(), "default/somewhere/inputs/anchor_image.png"
    context.objects.put(key, body, "image/png", hashlib.sha256(body).hexdigest())
    nowhere = ObjectStore(context.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    real_get, tries = context.objects.get, []

    def get(asked: str) -> bytes:
        tries.append(asked)
        return real_get(asked) if len(tries) > 1 else nowhere.get(asked)

    monkeypatch.setattr(context.objects, "get", get)

    def params(anchor: str) -> ResolvedParams:
        asked = PanoramaParams.model_validate(
            {"prompt": "a lake", "width": 128, "anchor_image": {"key": anchor}}
        )
        return asked.resolve(context.generator.pipeline.traits)

    images = fetch_images(context.objects, params(key), lambda: None)
    assert images["anchor_image"].size == (64, 64)
    assert tries == [key, key]
    with pytest.raises(NoSuchObject):
        fetch_images(context.objects, params("default/gone.png"), lambda: None)
    assert len(tries) == 3


def test_a_copy_that_is_larger_than_what_was_sent_is_read(context: WorkerContext) -> None:
    """A JPEG within the limit becomes a PNG above it."""
    buffer = io.BytesIO()
    Image.new("RGB", (2_700, 2_700)).save(buffer, "PNG", compress_level=0)
    body, key = buffer.getvalue(), "default/somewhere/inputs/anchor_image.png"
    assert len(body) > MAX_IMAGE_BYTES
    context.objects.put(key, body, "image/png", hashlib.sha256(body).hexdigest())
    asked = PanoramaParams.model_validate(
        {"prompt": "a lake", "width": 128, "anchor_image": {"key": key}}
    )
    params = asked.resolve(context.generator.pipeline.traits)
    assert fetch_images(context.objects, params, lambda: None)["anchor_image"].size == (
        2_700,
        2_700,
    )


def test_a_refusal_is_logged_with_the_setting_that_mends_it(
    here: WorkerContext, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and not as an S3 that is away."""
    with s3_that_speaks("no-checksums") as (_, settings), closing(ObjectStore(settings)) as objects:
        threading.Timer(0.5, here.stopping.set).start()
        job.wait_for_storage(dataclasses.replace(here, objects=objects), post())
    assert caplog.text.count("PANOWEAVE_S3_CHECKSUM=md5") == 1
    assert "away" not in caplog.text
