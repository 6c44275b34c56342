"""What an attempt leaves behind, and how the next one goes on from it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

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
from panoweave.worker import attempt, patience
from panoweave.worker.attempt import Attempt
from panoweave.worker.job import Workshop, run_attempt
from panoweave.worker.savepoint import Savepoint
from tests.core import tiny

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
    workshop: Workshop, post: Post, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> Callable[..., JobRecord]:
    """A job that is back in the queue after its third step."""

    def run_three_steps(**changes: object) -> JobRecord:
        monkeypatch.setattr(attempt, "DRAIN_S", -1)  # every job has longer to go
        check = Attempt.check

        def leave(self: Attempt) -> None:
            if steps[-1:] == [3]:
                workshop.stopping.set()
            check(self)

        with monkeypatch.context() as patched:
            patched.setattr(Attempt, "check", leave)
            ended = run(workshop, post(**changes))
        workshop.stopping.clear()
        assert ended.status is Status.QUEUED
        assert steps == [1, 2, 3]
        steps.clear()
        return ended

    return run_three_steps


@pytest.fixture
def elsewhere(workshop: Workshop, pipeline: SyncDiffusionPipeline, tmp_path: Path) -> Workshop:
    """Another worker with the same model."""
    made = tiny.pipeline(tmp_path)
    made.perceptual, made.meter = pipeline.perceptual, pipeline.meter
    maker = OomRetry(made, workshop.settings.window_batch)
    return dataclasses.replace(workshop, name="another-worker", maker=maker)


def run(workshop: Workshop, record: JobRecord) -> JobRecord:
    ended = run_attempt(workshop, workshop.store.start(record.id, workshop.name))
    assert ended is not None
    return ended


def sha256(ended: JobRecord) -> str:
    assert ended.status is Status.SUCCEEDED, ended.error
    assert ended.result is not None
    return ended.result.sha256


def test_another_worker_goes_on_and_stores_the_same_picture(
    workshop: Workshop,
    elsewhere: Workshop,
    preempted: Callable[..., JobRecord],
    post: Post,
    redis: Redis,
    steps: list[int],
) -> None:
    record = preempted()
    assert 0 < redis.ttl(redis_keys.savepoint(record.id)) <= workshop.settings.savepoint_ttl_s
    resumed = run(elsewhere, record)
    assert steps == [4, 5]
    assert resumed.attempts == 2
    assert not redis.exists(redis_keys.savepoint(record.id))
    told = [event.data for event in read(redis, record.id) if event.type == "progress"]
    phases = [(progress["phase"], progress["step"]) for progress in told]
    assert phases[3:6] == [("resuming", 3), ("denoising", 4), ("decoding", 5)]

    assert sha256(resumed) == sha256(run(workshop, post()))


def test_it_is_saved_while_a_step_takes_its_time(
    workshop: Workshop, post: Post, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bool] = []
    on_step = Attempt.on_step

    def wait(self: Attempt, report: StepReport) -> None:
        if report.step == 2:
            time.sleep(0.3)
            saved.append(bool(redis.exists(redis_keys.savepoint(self.record.id))))
        on_step(self, report)

    monkeypatch.setattr(Attempt, "on_step", wait)
    frequent = workshop.settings.model_copy(update={"savepoint_every_s": 0.05})
    ended = run(dataclasses.replace(workshop, settings=frequent), post())
    assert ended.status is Status.SUCCEEDED
    assert saved == [True]
    assert not redis.exists(redis_keys.savepoint(ended.id))


def test_what_cannot_be_stored_is_stored_later_without_computing_again(
    workshop: Workshop,
    elsewhere: Workshop,
    post: Post,
    redis: Redis,
    steps: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.1)
    away = ObjectStore(workshop.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    failed = run(dataclasses.replace(workshop, objects=away), post())
    away.close()
    assert failed.error is not None
    assert failed.error.code is FailureCode.STORAGE_UNAVAILABLE
    assert steps == [1, 2, 3, 4, 5]
    steps.clear()

    workshop.store.retry(failed)
    finished = run(elsewhere, failed)
    assert steps == []
    assert not redis.exists(redis_keys.savepoint(failed.id))
    assert sha256(finished) == sha256(run(workshop, post()))


@pytest.mark.parametrize("broken", [b"", b"nonsense", b"\xff" * 100, "cut short", "another's"])
def test_what_does_not_fit_is_computed_again(
    workshop: Workshop,
    preempted: Callable[..., JobRecord],
    post: Post,
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
        workshop = dataclasses.replace(workshop, identity=PipelineIdentity("of another model", ()))
    ended = run(workshop, record)
    assert steps == [1, 2, 3, 4, 5]
    assert "cannot go on from what was saved" in caplog.text
    assert sha256(ended) == sha256(run(workshop, post()))


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
    workshop: Workshop, post: Post, settings: Settings
) -> None:
    record = workshop.store.start(post().id, "worker")

    def savepoint(colour: str) -> Savepoint:
        images = {"anchor_image": Image.new("RGB", (8, 8), colour)}
        return Savepoint(workshop.savepoints, record, workshop.identity, images, settings)

    leave_early(savepoint("red"))
    found = savepoint("red").load()
    assert found is not None
    assert found.step == 2
    assert savepoint("blue").load() is None


def test_what_an_earlier_version_saved_is_gone_on_with(
    workshop: Workshop, post: Post, settings: Settings
) -> None:
    """An earlier version computed the identity of the same pipeline in another way."""
    record = workshop.store.start(post().id, "worker")

    def savepoint(digest: str, *earlier: str) -> Savepoint:
        identity = PipelineIdentity(digest, earlier)
        return Savepoint(workshop.savepoints, record, identity, {}, settings)

    leave_early(savepoint("old"))
    found = savepoint("new", "old").load()
    assert found is not None
    assert found.step == 2
    assert savepoint("new", "another").load() is None


@pytest.mark.parametrize(("spared", "is_saved"), [(0, True), (1, False)])
def test_what_is_too_large_is_not_saved(
    workshop: Workshop, post: Post, redis: Redis, spared: int, is_saved: bool
) -> None:
    limit = {"savepoint_max_bytes": after(2).size_bytes - spared}
    settings = workshop.settings.model_copy(update=limit)
    record = workshop.store.start(post().id, "worker")
    leave_early(Savepoint(workshop.savepoints, record, workshop.identity, {}, settings))
    assert bool(redis.exists(redis_keys.savepoint(record.id))) is is_saved


def test_redis_away_keeps_no_step_waiting(
    workshop: Workshop, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    record = workshop.store.start(post().id, "worker")
    nowhere = SecretStr("redis://127.0.0.1:1/0")
    settings = workshop.settings.model_copy(
        update={"redis_url": nowhere, "savepoint_every_s": 0.01}
    )
    with connect(settings) as redis:
        savepoint = Savepoint(Savepoints(redis, settings), record, workshop.identity, {}, settings)
        assert savepoint.load() is None
        begun = time.monotonic()
        with savepoint:
            for step in range(1, 100):
                savepoint.note(after(step))
            noted_s = time.monotonic() - begun
            time.sleep(0.1)
        assert noted_s < 0.1
        assert time.monotonic() - begun < 2
    assert "Redis is away; step 99 is not saved" in caplog.text


def test_where_memory_runs_out_no_step_is_done_again(
    workshop: Workshop, post: Post, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(workshop, post())
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
    cramped = dataclasses.replace(workshop, maker=OomRetry(workshop.maker.pipeline, 4))
    assert sha256(run(cramped, post())) == sha256(ended)
    assert steps == [1, 2, 3, 4, 5]
