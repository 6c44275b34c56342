"""Where jobs stand: who may say so, and how long it is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import Failure, JobRecord, Status
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE, new_record, result_of, start_job

RETRYABLE = Failure.of(FailureCode.STORAGE_UNAVAILABLE)


@pytest.fixture
def store(redis: Redis, settings: Settings) -> JobStore:
    return JobStore(redis, settings.model_copy(update={"lease_s": 0.001}))


@pytest.fixture
def savepoints(redis: Redis, settings: Settings) -> Savepoints:
    return Savepoints(redis, settings)


@pytest.fixture
def running(store: JobStore, savepoints: Savepoints) -> JobRecord:
    """A job that has saved where it stands."""
    record = start_job(store, store.create(new_record()).id, "worker")
    assert savepoints.save(record.id, token(record), b"step 3")
    return record


def token(record: JobRecord) -> str:
    assert record.token is not None
    return record.token


def lose(store: JobStore) -> None:
    """Its worker is presumed dead."""
    while not (lost := store.lost()):
        pass
    store.expire_lost(lost[0])


def test_the_last_one_counts_and_expires(
    running: JobRecord, savepoints: Savepoints, redis: Redis, settings: Settings
) -> None:
    assert savepoints.save(running.id, token(running), b"step 4")
    assert savepoints.load(running.id) == b"step 4"
    ttl_s = redis.ttl(redis_keys.savepoint(running.id))
    assert settings.savepoint_ttl_s - 5 <= ttl_s <= settings.savepoint_ttl_s


def test_an_attempt_that_is_over_saves_nothing(
    running: JobRecord, savepoints: Savepoints, store: JobStore
) -> None:
    lose(store)
    assert not savepoints.save(running.id, token(running), b"late")
    successor = start_job(store, running.id, "successor")
    assert savepoints.load(running.id) == b"step 3"  # what the successor goes on from
    assert savepoints.save(running.id, token(successor), b"step 5")
    assert not savepoints.save(running.id, token(running), b"late")
    assert savepoints.load(running.id) == b"step 5"


Move = Callable[[JobStore, JobRecord], JobRecord]


def cancel_in_queue(store: JobStore, record: JobRecord) -> JobRecord:
    store.requeue(record.id, token(record), "preempted")
    return store.request_cancel(record.id)


def delete(store: JobStore, record: JobRecord) -> JobRecord:
    store.fail(record.id, token(record), RETRYABLE)
    return store.delete(record.id)


@pytest.mark.parametrize(
    ("move", "is_kept"),
    [
        (lambda store, job: store.succeed(job.id, job.token, result_of(job)), False),
        (lambda store, job: store.cancelled(job.id, job.token), False),
        (lambda store, job: store.fail(job.id, job.token, FAILURE), False),
        (cancel_in_queue, False),
        (delete, False),
        (lambda store, job: store.fail(job.id, job.token, RETRYABLE), True),
        (lambda store, job: store.requeue(job.id, job.token, "preempted"), True),
        (lambda store, job: store.request_cancel(job.id), True),  # not yet at its next step
    ],
    ids=[
        "succeeded",
        "cancelled",
        "failed for good",
        "cancelled in the queue",
        "deleted",
        "failed",
        "requeued",
        "asked to cancel",
    ],
)
def test_it_is_kept_as_long_as_somebody_may_go_on(
    running: JobRecord, savepoints: Savepoints, store: JobStore, move: Move, is_kept: bool
) -> None:
    ended = move(store, running)
    assert savepoints.load(running.id) == (b"step 3" if is_kept else None)
    if ended.status is not Status.RUNNING:
        assert not savepoints.save(running.id, token(running), b"late")
