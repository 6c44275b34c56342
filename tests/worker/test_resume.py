"""What an attempt leaves behind, and how the next one goes on from it."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pydantic import SecretStr
from redis import Redis

from panoweave.core.diffusion.identity import PipelineIdentity
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.events import read
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.worker import attempt, savepoint, upload
from panoweave.worker.attempt import Attempt
from panoweave.worker.job import WorkerContext, run_attempt
from panoweave.worker.savepoint import Savepoint
from tests.core import tiny
from tests.jobs.samples import start_job
from tests.processes import wait_until

Post = Callable[..., JobRecord]
STEPS = 5  # that `post` asks for


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Those that attempts report, one after another."""
    seen: list[int] = []
    on_step = Attempt.on_step

    def look(self: Attempt, report: StepReport) -> None:
        seen.append(report.step)
        on_step(self, report)

    monkeypatch.setattr(Attempt, "on_step", look)
    return seen


@pytest.fixture
def preempted(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> Callable[..., JobRecord]:
    """A job that is back in the queue after its third step."""

    def run_three_steps(**changes: object) -> JobRecord:
        monkeypatch.setattr(attempt, "DRAIN_S", -1)  # every job has longer to go
        check = Attempt.check

        def leave(self: Attempt) -> None:
            if steps[-1:] == [3]:
                context.stopping.set()
            check(self)

        with monkeypatch.context() as patched:
            patched.setattr(Attempt, "check", leave)
            ended = run(context, post(**changes))
        context.stopping.clear()
        assert ended.status is Status.QUEUED
        assert steps == [1, 2, 3]
        steps.clear()
        return ended

    return run_three_steps


@pytest.fixture
def elsewhere(
    context: WorkerContext, pipeline: SyncDiffusionPipeline, tmp_path: Path
) -> WorkerContext:
    """Another worker with the same model."""
    made = tiny.pipeline(tmp_path)
    made.perceptual, made.meter = pipeline.perceptual, pipeline.meter
    generator = OomRetry(made, context.settings.window_batch)
    return dataclasses.replace(context, name="another-worker", generator=generator)


def run(context: WorkerContext, record: JobRecord) -> JobRecord:
    ended = run_attempt(context, start_job(context.store, record.id, context.name))
    assert ended is not None
    return ended


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    return {}


@pytest.fixture
def uninterrupted(context: WorkerContext, post: Post, known: dict[str, str]) -> Callable[[], str]:
    """The SHA-256 of the picture that no attempt was interrupted at; computed once."""

    def compute() -> str:
        if not known:
            known["sha256"] = sha256(run(context, post()))
        return known["sha256"]

    return compute


def sha256(ended: JobRecord) -> str:
    assert ended.status is Status.SUCCEEDED, ended.error
    assert ended.result is not None
    return ended.result.sha256


def test_another_worker_goes_on_and_stores_the_same_picture(
    context: WorkerContext,
    elsewhere: WorkerContext,
    preempted: Callable[..., JobRecord],
    uninterrupted: Callable[[], str],
    redis: Redis,
    steps: list[int],
) -> None:
    record = preempted()
    assert 0 < redis.ttl(redis_keys.savepoint(record.id)) <= context.settings.savepoint_ttl_s
    resumed = run(elsewhere, record)
    assert steps == [4, 5]
    assert resumed.attempts == 2
    assert not redis.exists(redis_keys.savepoint(record.id))
    reported = [event.data for event in read(redis, record.id) if event.type == "progress"]
    phases = [(progress["phase"], progress["step"]) for progress in reported]
    assert phases[3:6] == [("resuming", 3), ("denoising", 4), ("decoding", 5)]

    assert sha256(resumed) == uninterrupted()


def test_an_interrupted_upscale_goes_on(
    context: WorkerContext,
    elsewhere: WorkerContext,
    post: Post,
    preempted: Callable[..., JobRecord],
    redis: Redis,
    steps: list[int],
) -> None:
    """After the first step of the second stage: the first is not sampled again."""
    asked = {"width": 64, "steps": 2, "upscale": 2, "sync": {"weight": 0}}
    record = preempted(**asked)
    resumed = run(elsewhere, record)
    assert steps == [4, 5, 6, 7, 8]
    reported = [event.data for event in read(redis, record.id) if event.type == "progress"]
    assert {progress["total_steps"] for progress in reported} == {8}
    phases = [(progress["phase"], progress["step"]) for progress in reported]
    assert phases[3:5] == [("resuming", 3), ("denoising", 4)]
    assert resumed.result
    assert (resumed.result.width, resumed.result.height) == (128, 128)
    assert sha256(resumed) == sha256(run(context, post(**asked)))


def test_it_is_saved_while_a_step_takes_its_time(
    context: WorkerContext, post: Post, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bool] = []
    on_step = Attempt.on_step

    def wait(self: Attempt, report: StepReport) -> None:
        if report.step == 2:
            wait_until(lambda: bool(redis.exists(redis_keys.savepoint(self.record.id))), 30)
            saved.append(True)
        on_step(self, report)

    monkeypatch.setattr(Attempt, "on_step", wait)
    frequent = context.settings.model_copy(update={"savepoint_every_s": 0.05})
    ended = run(dataclasses.replace(context, settings=frequent), post())
    assert ended.status is Status.SUCCEEDED
    assert saved == [True]
    assert not redis.exists(redis_keys.savepoint(ended.id))


def test_what_cannot_be_stored_is_stored_later_without_computing_again(
    context: WorkerContext,
    elsewhere: WorkerContext,
    post: Post,
    uninterrupted: Callable[[], str],
    redis: Redis,
    steps: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "RETRY_FOR_S", 0.1)
    away = ObjectStore(context.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    failed = run(dataclasses.replace(context, objects=away), post())
    away.close()
    assert failed.error is not None
    assert failed.error.code is FailureCode.STORAGE_UNAVAILABLE
    assert steps == [1, 2, 3, 4, 5]
    steps.clear()

    context.store.retry(failed)
    finished = run(elsewhere, failed)
    assert steps == []
    assert not redis.exists(redis_keys.savepoint(failed.id))
    assert sha256(finished) == uninterrupted()


@pytest.mark.parametrize("broken", [b"", b"nonsense", "cut short", "another's"])
def test_what_does_not_fit_is_computed_again(
    context: WorkerContext,
    preempted: Callable[..., JobRecord],
    uninterrupted: Callable[[], str],
    redis: Redis,
    steps: list[int],
    caplog: pytest.LogCaptureFixture,
    broken: bytes | str,
) -> None:
    record = preempted()
    key = redis_keys.savepoint(record.id)
    body = redis.get(key)
    assert isinstance(body, bytes)
    if isinstance(broken, bytes):
        redis.set(key, broken)
    elif broken == "cut short":
        redis.set(key, body[:-1])
    else:
        context = dataclasses.replace(context, identity=PipelineIdentity("of another model", ()))
    ended = run(context, record)
    assert steps == [1, 2, 3, 4, 5]
    assert "the savepoint is not used" in caplog.text
    assert sha256(ended) == uninterrupted()


def after(step: int) -> SamplerState:
    return SamplerState(step, torch.zeros(1, 4, 8, 16), {}, torch.get_rng_state())


def leave_early(savepoint: Savepoint) -> None:
    """After two steps."""

    def work() -> None:
        with savepoint:
            savepoint.note(after(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_other_pictures_make_another_panorama(
    context: WorkerContext, post: Post, settings: Settings
) -> None:
    record = start_job(context.store, post().id, "worker")

    def savepoint(colour: str) -> Savepoint:
        images = {"anchor_image": Image.new("RGB", (8, 8), colour)}
        return Savepoint(context.savepoints, record, context.identity, images, [], settings)

    leave_early(savepoint("red"))
    found = savepoint("red").load()
    assert found is not None
    assert found.step == 2
    assert savepoint("blue").load() is None


def test_what_followed_a_picture_as_it_is_is_not_gone_on_with(
    context: WorkerContext, post: Post
) -> None:
    """Decision 63: earlier versions have another target, so their savepoints are of another
    panorama. Other pictures' are gone on with."""
    record = start_job(context.store, post().id, "worker")
    image = Image.new("RGB", (8, 8), "red")

    def is_as_before(field: str) -> bool:
        before = hashlib.sha256(b"identity")
        before.update(record.params.model_dump_json().encode())
        before.update(f"{field} RGB (8, 8) ".encode() + image.tobytes())
        return before.hexdigest() == savepoint._fingerprint(record, "identity", {field: image}, [])

    assert not is_as_before("anchor_image")
    assert not is_as_before("extend.image")
    assert is_as_before("control.image")


def test_what_an_earlier_version_saved_is_gone_on_with(
    context: WorkerContext, post: Post, settings: Settings
) -> None:
    """An earlier version computed the identity of the same pipeline in another way."""
    record = start_job(context.store, post().id, "worker")

    def savepoint(digest: str, *earlier: str) -> Savepoint:
        identity = PipelineIdentity(digest, earlier)
        return Savepoint(context.savepoints, record, identity, {}, [], settings)

    leave_early(savepoint("old"))
    found = savepoint("new", "old").load()
    assert found is not None
    assert found.step == 2
    assert savepoint("new", "another").load() is None


@pytest.mark.parametrize(("spared", "is_saved"), [(0, True), (1, False)])
def test_what_is_too_large_is_not_saved(
    context: WorkerContext, post: Post, redis: Redis, spared: int, is_saved: bool
) -> None:
    limit = {"savepoint_max_bytes": after(2).size_bytes - spared}
    settings = context.settings.model_copy(update=limit)
    record = start_job(context.store, post().id, "worker")
    leave_early(Savepoint(context.savepoints, record, context.identity, {}, [], settings))
    assert bool(redis.exists(redis_keys.savepoint(record.id))) is is_saved


def test_redis_away_keeps_no_step_waiting(
    context: WorkerContext,
    post: Post,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis is asked with the first step, and its trouble is known after the last one."""
    asked, all_noted, was_first = threading.Event(), threading.Event(), []
    save = Savepoints.save

    def save_late(*arguments: Any) -> None:
        asked.set()
        was_first.append(all_noted.wait(60))
        save(*arguments)

    monkeypatch.setattr(Savepoints, "save", save_late)
    record = start_job(context.store, post().id, "worker")
    nowhere = SecretStr("redis://127.0.0.1:1/0")
    settings = context.settings.model_copy(update={"redis_url": nowhere, "savepoint_every_s": 0.01})
    with connect(settings) as redis:
        savepoint = Savepoint(
            Savepoints(redis, settings), record, context.identity, {}, [], settings
        )
        assert savepoint.load() is None
        with savepoint:
            savepoint.note(after(1))
            assert asked.wait(30)
            for step in range(2, 100):
                savepoint.note(after(step))
            all_noted.set()
            wait_until(lambda: "Redis is away; step 99 is not saved" in caplog.text, 30)
    assert all(was_first)


def test_where_memory_runs_out_no_step_is_done_again(
    context: WorkerContext,
    post: Post,
    uninterrupted: Callable[[], str],
    steps: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = uninterrupted()
    steps.clear()
    on_step = Attempt.on_step
    failures = iter([3, 5])
    fails_at = next(failures)

    def run_out(self: Attempt, report: StepReport) -> None:
        nonlocal fails_at
        on_step(self, report)
        if report.step == fails_at:
            fails_at = next(failures, 0)
            raise torch.OutOfMemoryError

    monkeypatch.setattr(Attempt, "on_step", run_out)
    cramped = dataclasses.replace(context, generator=OomRetry(context.generator.pipeline, 4))
    assert sha256(run(cramped, post())) == whole
    assert steps == [1, 2, 3, 4, 5]
