"""Attempts that are cancelled, superseded, preempted or timed out, or that Redis leaves."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.estimate import Speeds
from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.store import JobStore, LostJob
from panoweave.core.params import PanoramaParams
from panoweave.deploy.local.servers import RedisServer
from panoweave.worker import attempt, job, upload
from panoweave.worker.attempt import Attempt
from panoweave.worker.job import WorkerContext, run_attempt
from tests.jobs.samples import start_job
from tests.worker.attempts import Post, at_step, run


def test_cancel_at_a_step(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = post()
    steps: list[int] = []
    at_step(2, lambda: context.store.request_cancel(record.id), monkeypatch)
    at_step(4, lambda: steps.append(4), monkeypatch)
    ended = run(context, record)
    assert ended is not None
    assert ended.status is Status.CANCELLED
    assert steps == []


def test_cancel_within_a_step(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat hears of it, and the next batch of windows does not begin."""
    record = post()
    check = Attempt.check

    def cancel_and_wait(self: Attempt) -> None:
        context.store.request_cancel(record.id)
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            check(self)
            time.sleep(0.01)

    monkeypatch.setattr(Attempt, "check", cancel_and_wait)
    ended = run(context, record)
    assert ended is not None
    assert ended.status is Status.CANCELLED
    assert ended.progress is None  # not one step was done


def test_a_worker_that_is_asked_to_stop_stops_within_its_first_step(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = post()
    check = Attempt.check
    checks: list[None] = []

    def stop_at_the_second(self: Attempt) -> None:
        checks.append(None)
        if len(checks) == 2:
            context.stopping.set()
        check(self)

    monkeypatch.setattr(Attempt, "check", stop_at_the_second)
    ended = run(context, record)
    assert ended is not None
    assert ended.status is Status.QUEUED
    assert len(checks) == 2


def test_a_job_ends_when_its_attempts_have_taken_as_long_as_they_may(
    context: WorkerContext, post: Post
) -> None:
    """Together: what an earlier attempt took counts, until somebody asks for a retry."""
    record = post()
    first = start_job(context.store, record.id, "earlier")
    assert first.token is not None
    time.sleep(0.3)
    context.store.requeue(record.id, first.token, "preempted")
    settings = context.settings.model_copy(update={"job_timeout_s": 0.25})
    ended = run(dataclasses.replace(context, settings=settings), record)
    assert ended is not None
    assert ended.error is not None
    assert (ended.error.code, ended.error.retryable) == (FailureCode.JOB_TIMEOUT, False)
    assert ended.run_ms >= 300
    context.store.retry(ended)
    again = start_job(context.store, record.id, "later")
    assert again.run_ms == again.run_ms_at_retry == ended.run_ms


@pytest.mark.parametrize(("window_s", "status"), [(1, Status.FAILED), (0.05, Status.QUEUED)])
def test_a_hung_batch_is_not_tried_again_where_its_own_size_takes_that_long(
    context: WorkerContext,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
    window_s: float,
    status: Status,
) -> None:
    """By what this worker has measured of a window, and by the windows that a batch really has:
    this panorama has two."""
    record, gone = post(), threading.Event()
    monkeypatch.setattr(os, "_exit", lambda _status: gone.set())
    at_step(2, lambda: gone.wait(30), monkeypatch)
    context.speed.meter.speeds = Speeds(prediction_s=window_s, gradient_gaussian_full_s=window_s)
    settings = context.settings.model_copy(update={"step_timeout_s": 0.3})
    generator = OomRetry(context.generator.pipeline, window_batch=64)
    assert run(dataclasses.replace(context, settings=settings, generator=generator), record) is None
    assert gone.is_set()
    ended = context.store.get(record.id)
    assert ended.status is status
    if status is Status.FAILED:
        assert ended.error is not None
        assert (ended.error.code, ended.error.retryable) == (FailureCode.STEP_TIMEOUT, False)


def test_cancel_after_the_upload_leaves_no_objects(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = post()
    real_upload = upload.upload

    def upload_then_cancel(*arguments: object) -> object:
        result = real_upload(*arguments)  # type: ignore[arg-type]
        context.store.request_cancel(record.id)
        return result

    monkeypatch.setattr(job, "upload", upload_then_cancel)
    ended = run(context, record)
    assert ended is not None
    assert ended.status is Status.CANCELLED
    assert ended.result is None
    assert not context.objects.exists(ended.keys.image)


def test_a_superseded_attempt_commits_nothing(
    context: WorkerContext, redis: Redis, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Presumed dead, replaced, and back again: it stops and leaves its successor alone."""
    short_lease = context.settings.model_copy(update={"lease_s": 0.05})
    lender = JobStore(redis, short_lease)
    record = post()
    successor: list[JobRecord] = []

    def replace() -> None:
        threading.Event().wait(0.1)
        (lost,) = lender.lost()
        assert lender.expire_lost(lost).status is Status.QUEUED
        successor.append(start_job(context.store, record.id, "successor"))

    at_step(3, replace, monkeypatch)
    first = start_job(lender, record.id, "first")
    assert run_attempt(dataclasses.replace(context, store=lender), first) is None

    now = context.store.get(record.id)
    assert (now.status, now.attempts, now.worker) == (Status.RUNNING, 2, "successor")
    assert now.token == successor[0].token
    assert now.result is None


@pytest.mark.parametrize(("attempts", "is_left"), [(2, False), (1, True)])
def test_a_superseded_attempt_leaves_no_object_but_its_namesakes(
    context: WorkerContext,
    redis: Redis,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
    attempts: int,
    is_left: bool,
) -> None:
    """Another attempt has the same number where Redis lost the beginning of this one."""
    record = post()

    def supersede() -> None:
        redis.hset(redis_keys.job(record.id), mapping={"token": "another", "attempts": attempts})

    at_step(3, supersede, monkeypatch)
    first = start_job(context.store, record.id, "first")
    context.objects.put(first.keys.preview, b"x", "image/jpeg", hashlib.sha256(b"x").hexdigest())
    assert run_attempt(context, first) is None
    assert context.objects.exists(first.keys.preview) is is_left


def test_an_attempt_that_was_given_up_for_the_last_time_leaves_no_object(
    context: WorkerContext, redis: Redis, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late it comes back: its number is still the record's."""
    once = context.settings.model_copy(update={"lease_s": 0, "max_attempts": 1})
    lender = JobStore(redis, once)
    record = post()
    first = start_job(lender, record.id, "first")
    at_step(3, lambda: lender.expire_lost(LostJob(record.id, first.token or "")), monkeypatch)
    context.objects.put(first.keys.preview, b"x", "image/jpeg", hashlib.sha256(b"x").hexdigest())
    assert run_attempt(dataclasses.replace(context, store=lender), first) is None
    now = context.store.get(record.id)
    assert (now.status, now.attempts) == (Status.FAILED, 1)
    assert not context.objects.exists(first.keys.preview)


def test_asked_to_leave_gives_a_long_job_back(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "DRAIN_S", -1)  # every job has longer to go
    at_step(2, context.stopping.set, monkeypatch)
    ended = run(context, post())
    assert ended is not None
    assert ended.status is Status.QUEUED
    assert context.queue.estimate([ended]).places == {ended.id: 0}


def test_asked_to_leave_ends_a_nearly_done_job(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(2, context.stopping.set, monkeypatch)
    ended = run(context, post())
    assert ended is not None
    assert ended.status is Status.SUCCEEDED


def test_redis_away_keeps_the_work(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis dies at a step and comes back after the last: the result is committed then."""
    server = RedisServer(tmp_path / "data", tmp_path / "logs")
    server.start()
    settings = context.settings.model_copy(
        update={
            "redis_url": SecretStr(server.url),
            "lease_s": 60,
            # Shorter than Redis is away: waiting for it is no hang, and the watchdog must know.
            "step_timeout_s": 2.0,
            "heartbeat_s": 0.3,
        }
    )
    died = threading.Event()

    def die() -> None:
        server.stop()
        died.set()

    with connect(settings) as redis, ThreadPoolExecutor(1) as worker:
        store = JobStore(redis, settings)
        here = dataclasses.replace(context, settings=settings, store=store, queue=Queue(redis))
        params = PanoramaParams(prompt="a lake", width=128, stride=64, steps=3, seed=1)
        record = store.create(
            JobRecord.new(
                params.resolve(context.generator.pipeline.traits), "embedded", "default", {}
            )
        )
        at_step(2, die, monkeypatch)
        running = worker.submit(run, here, record)
        died.wait(30)
        with pytest.raises(TimeoutError):
            running.result(4)  # done long since, but for the commit
        # From this thread: the server lives no longer than the thread that starts it.
        server.start()
        ended = running.result(30)
        assert store.get(record.id).result is not None
    server.stop()
    assert ended is not None
    assert ended.status is Status.SUCCEEDED
    assert ended.attempts == 1
