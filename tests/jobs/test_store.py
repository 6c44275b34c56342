"""The store against a real Redis: what a record promises to processes that race for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import now_ms
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events
from panoweave.core.jobs.errors import IllegalMove, NotFound, Refused, StaleAttempt, TenantQueueFull
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.store import JobStore, LostJob
from tests.jobs.samples import FAILURE, new_record, progress, result_of, start_job


@pytest.fixture
def brief(redis: Redis, settings: Settings) -> JobStore:
    """A store whose leases pass at once."""
    return JobStore(redis, settings.model_copy(update={"lease_s": 0.05}))


def running(store: JobStore) -> tuple[JobRecord, str]:
    record = start_job(store, store.create(new_record()).id, "worker-1")
    assert record.token is not None
    return record, record.token


def event_types(redis: Redis, job_id: str) -> list[str]:
    return [event.type for event in events.read(redis, job_id, limit=1_000)]


def outbox(redis: Redis) -> list[tuple[str, str]]:
    """Of each delivery: the job, and how it ended."""
    waiting: Any = redis.zrange(redis_keys.OUTBOX, 0, -1)
    found: Any = [
        redis.hmget(redis_keys.delivery(raw.decode()), "job_id", "type") for raw in waiting
    ]
    return [(job.decode(), kind.decode().removeprefix("panorama.")) for job, kind in found]


def test_a_job_from_start_to_end(store: JobStore, redis: Redis) -> None:
    created = store.create(new_record(metadata={"order": 7}))
    assert (created.status, created.attempts) == (Status.QUEUED, 0)
    started = start_job(store, created.id, "worker-1")
    assert started.token is not None
    assert (started.status, started.attempts, started.worker) == (Status.RUNNING, 1, "worker-1")
    assert started.started_at is not None
    assert started.started_at >= created.created_at
    assert not store.report(created.id, started.token, progress(3)).cancel_requested
    assert store.get(created.id).progress == progress(3)
    done = store.succeed(created.id, started.token, result_of(started))
    assert done == store.get(created.id)
    assert (done.status, done.result) == (Status.SUCCEEDED, result_of(started))
    assert done.finished_at is not None
    assert done.metadata == {"order": 7}
    assert event_types(redis, created.id) == ["created", "started", "progress", "succeeded"]
    assert outbox(redis) == [(created.id, "succeeded")]


def test_of_a_hundred_workers_one_starts_a_job(store: JobStore, redis: Redis) -> None:
    job_id = store.create(new_record()).id

    with ThreadPoolExecutor(max_workers=32) as pool:
        won = [
            record
            for record in pool.map(
                lambda number: store.claim(f"worker-{number}", "embedded"), range(100)
            )
            if record is not None
        ]
    assert len(won) == 1
    assert store.get(job_id).worker == won[0].worker
    assert event_types(redis, job_id).count("started") == 1


def test_of_many_endings_one_counts(store: JobStore, redis: Redis) -> None:
    record, token = running(store)
    endings = [
        lambda: store.succeed(record.id, token, result_of(record)),
        lambda: store.fail(record.id, token, FAILURE),
        lambda: store.cancelled(record.id, token),
    ]

    def end(number: int) -> Status | None:
        try:
            return endings[number % 3]().status
        except IllegalMove:
            return None

    with ThreadPoolExecutor(max_workers=16) as pool:
        reached = {status for status in pool.map(end, range(60)) if status is not None}
    assert reached == {store.get(record.id).status}
    assert outbox(redis) == [(record.id, reached.pop().value)]


def test_a_repeated_ending_is_no_second_one(store: JobStore, redis: Redis) -> None:
    """As happens when Redis's reply is lost and the client sends the command again."""
    record, token = running(store)
    first = store.succeed(record.id, token, result_of(record))
    assert store.succeed(record.id, token, result_of(record)) == first
    assert len(outbox(redis)) == 1
    with pytest.raises(IllegalMove):
        store.fail(record.id, token, FAILURE)


def test_a_former_attempt_can_do_nothing(store: JobStore) -> None:
    record, old = running(store)
    store.requeue(record.id, old, "preempted")
    current = start_job(store, record.id, "worker-2")
    assert current.attempts == 2
    for attempt in (
        lambda: store.heartbeat(record.id, old),
        lambda: store.report(record.id, old, progress(9)),
        lambda: store.succeed(record.id, old, result_of(record)),
        lambda: store.fail(record.id, old, FAILURE),
        lambda: store.cancelled(record.id, old),
        lambda: store.requeue(record.id, old, "preempted"),
    ):
        with pytest.raises(StaleAttempt) as refused:
            attempt()
        assert refused.value.record.worker == "worker-2"
    assert store.get(record.id) == current


def test_an_attempt_that_requeued_itself_is_over(store: JobStore) -> None:
    record, token = running(store)
    requeued = store.requeue(record.id, token, "preempted")
    assert (requeued.status, requeued.attempts) == (Status.QUEUED, 1)
    with pytest.raises(StaleAttempt):
        store.heartbeat(record.id, token)
    with pytest.raises(StaleAttempt):
        store.succeed(record.id, token, result_of(record))


def test_a_second_attempt_keeps_the_first_start_and_forgets_its_progress(store: JobStore) -> None:
    record, token = running(store)
    store.report(record.id, token, progress(30))
    store.requeue(record.id, token, "preempted")
    again = start_job(store, record.id, "worker-2")
    assert again.started_at == record.started_at
    assert again.progress is None
    assert again.keys.image != record.keys.image


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
def test_nothing_moves_a_job_that_has_ended(store: JobStore, redis: Redis, status: Status) -> None:
    record, token = running(store)
    match status:
        case Status.SUCCEEDED:
            ended = store.succeed(record.id, token, result_of(record))
        case Status.FAILED:
            ended = store.fail(record.id, token, FAILURE)
        case _:
            ended = store.cancelled(record.id, token)
    assert ended.status is status
    assert store.claim("worker-2", "embedded") is None
    with pytest.raises(Refused):
        store.requeue(record.id, token, "preempted")
    with pytest.raises(StaleAttempt):
        store.heartbeat(record.id, token)
    assert store.request_cancel(record.id) == ended
    assert store.get(record.id) == ended
    assert len(outbox(redis)) == 1


def test_a_queued_job_is_cancelled_at_once(store: JobStore, redis: Redis) -> None:
    job_id = store.create(new_record()).id
    cancelled = store.request_cancel(job_id)
    assert cancelled.status is Status.CANCELLED
    assert cancelled.finished_at is not None
    assert store.request_cancel(job_id) == cancelled
    assert outbox(redis) == [(job_id, "cancelled")]
    assert store.claim("worker-1", "embedded") is None


def test_a_running_job_learns_of_its_cancel_at_every_report(store: JobStore, redis: Redis) -> None:
    record, token = running(store)
    asked = store.request_cancel(record.id)
    assert (asked.status, asked.cancel_requested) == (Status.RUNNING, True)
    store.request_cancel(record.id)
    assert store.heartbeat(record.id, token).cancel_requested
    assert store.report(record.id, token, progress(2)).cancel_requested
    assert store.cancelled(record.id, token).status is Status.CANCELLED
    assert event_types(redis, record.id).count("cancel_requested") == 1


def test_after_an_acknowledged_cancel_a_job_never_succeeds(store: JobStore, redis: Redis) -> None:
    record, token = running(store)
    store.request_cancel(record.id)
    ended = store.succeed(record.id, token, result_of(record))
    assert (ended.status, ended.result) == (Status.CANCELLED, None)
    assert store.succeed(record.id, token, result_of(record)) == ended
    assert outbox(redis) == [(record.id, "cancelled")]


def test_cancel_and_success_at_the_same_instant_agree(store: JobStore) -> None:
    for _ in range(30):
        record, token = running(store)
        with ThreadPoolExecutor(max_workers=2) as pool:
            asked = pool.submit(store.request_cancel, record.id)
            ended = pool.submit(store.succeed, record.id, token, result_of(record))
        acknowledged = asked.result().status is Status.RUNNING
        assert ended.result().status is (Status.CANCELLED if acknowledged else Status.SUCCEEDED)


def test_a_cancelled_job_is_not_queued_again(store: JobStore, brief: JobStore) -> None:
    record, token = running(store)
    store.request_cancel(record.id)
    assert store.requeue(record.id, token, "preempted").status is Status.CANCELLED

    record, token = running(brief)
    store.request_cancel(record.id)
    time.sleep(0.06)
    assert store.expire_lost(LostJob(record.id, token)).status is Status.CANCELLED


def lease_ends_at(redis: Redis, record: JobRecord) -> float:
    """In milliseconds."""
    found: Any = redis.zscore(redis_keys.LEASES, record.id)
    return float(found)


def test_a_silent_worker_loses_its_job(store: JobStore, redis: Redis, settings: Settings) -> None:
    before, lease_ms = now_ms(redis), settings.lease_s * 1_000
    record, token = running(store)
    assert before + lease_ms <= lease_ends_at(redis, record) <= now_ms(redis) + lease_ms
    assert store.lost() == []
    redis.zadd(redis_keys.LEASES, {record.id: now_ms(redis) - 1})
    assert store.lost() == [(record.id, token)]
    assert store.expire_lost(store.lost()[0]).status is Status.QUEUED
    assert store.lost() == []
    with pytest.raises(StaleAttempt):
        store.report(record.id, token, progress(4))
    with pytest.raises(StaleAttempt):
        store.succeed(record.id, token, result_of(record))
    assert event_types(redis, record.id) == ["created", "started", "requeued"]


def test_a_worker_that_beats_keeps_its_job(
    store: JobStore, redis: Redis, settings: Settings
) -> None:
    record, token = running(store)
    for step in range(6):
        before, lease_ms = now_ms(redis), settings.lease_s * 1_000
        redis.zadd(redis_keys.LEASES, {record.id: before - 1})
        if step % 2:
            store.heartbeat(record.id, token)
        else:
            store.report(record.id, token, progress(step))
        assert before + lease_ms <= lease_ends_at(redis, record) <= now_ms(redis) + lease_ms
        assert store.lost() == []


def test_a_worker_that_beat_after_it_was_found_lost_keeps_its_job(
    store: JobStore, brief: JobStore
) -> None:
    record, token = running(brief)
    time.sleep(0.06)
    (lost,) = brief.lost()
    store.heartbeat(record.id, token)  # a lease of 15 s
    assert store.expire_lost(lost).status is Status.RUNNING


def test_a_job_that_kills_its_workers_stops_after_its_attempts(
    redis: Redis, settings: Settings
) -> None:
    store = JobStore(redis, settings.model_copy(update={"lease_s": 0.01, "max_attempts": 2}))
    job_id = store.create(new_record()).id
    seen = []
    for _ in range(2):
        start_job(store, job_id, "worker-1")
        time.sleep(0.02)
        (lost,) = store.lost()
        # Two janitors act on the same finding: one of them counts.
        seen.append(store.expire_lost(lost).status)
        store.expire_lost(lost)
    record = store.get(job_id)
    assert seen == [Status.QUEUED, Status.FAILED]
    assert record.attempts == 2
    assert record.error is not None
    assert record.error.code is FailureCode.WORKER_LOST
    assert record.error.retryable
    assert outbox(redis) == [(job_id, "failed")]


def test_only_lost_workers_count_against_a_job(redis: Redis, settings: Settings) -> None:
    """A planned stop is nobody's fault; a hung step is as a lost worker."""
    store = JobStore(redis, settings.model_copy(update={"max_attempts": 2}))
    job_id = store.create(new_record()).id
    for _ in range(5):
        record = start_job(store, job_id, "worker-1")
        assert record.token is not None
        assert store.requeue(job_id, record.token, "preempted").lost_attempts == 0
    for status in (Status.QUEUED, Status.FAILED):
        record = start_job(store, job_id, "worker-1")
        assert record.token is not None
        assert store.hung(job_id, record.token, FAILURE).status is status
    assert store.get(job_id).error == FAILURE


def test_a_failed_job_is_tried_again_by_its_callers_wish(store: JobStore, redis: Redis) -> None:
    record, token = running(store)
    store.report(record.id, token, progress(7))
    failed = store.fail(record.id, token, FAILURE)
    again = store.retry(failed)
    assert (again.status, again.error, again.finished_at) == (Status.QUEUED, None, None)
    assert (again.progress, again.lost_attempts, again.attempts) == (None, 0, 1)
    assert redis.ttl(redis_keys.job(record.id)) == redis.ttl(redis_keys.events(record.id)) == -1
    assert store.retry(failed) == again  # once is enough
    second = start_job(store, record.id, "worker-2")
    assert second.token is not None
    assert store.retry(failed) == second
    done = store.succeed(record.id, second.token, result_of(second))
    assert done.status is Status.SUCCEEDED
    with pytest.raises(IllegalMove):
        store.retry(failed)
    assert event_types(redis, record.id)[-4:] == ["failed", "retried", "started", "succeeded"]
    assert outbox(redis) == [(record.id, "failed"), (record.id, "succeeded")]


def test_a_retry_waits_in_no_longer_a_queue_than_others(redis: Redis, settings: Settings) -> None:
    store = JobStore(redis, settings.model_copy(update={"tenant_max_queued": 1}))
    record, token = running(store)
    failed = store.fail(record.id, token, FAILURE)
    store.create(new_record())
    with pytest.raises(TenantQueueFull):
        store.retry(failed)
    assert store.get(record.id) == failed


def test_another_tenants_job_is_absent(store: JobStore) -> None:
    job_id = store.create(new_record(tenant="a")).id
    assert store.get(job_id, tenant="a").tenant == "a"
    with pytest.raises(NotFound):
        store.get(job_id, tenant="b")
    assert store.list("b").records == []


def test_no_move_makes_up_a_job(store: JobStore, redis: Redis) -> None:
    absent = new_record().id
    assert store.claim("worker-1", "embedded") is None
    for move in (store.get, store.request_cancel, store.delete):
        with pytest.raises(NotFound):
            move(absent)
    assert redis.dbsize() == 0


def test_a_listing_by_status_follows_the_moves(store: JobStore) -> None:
    record, token = running(store)
    waiting = store.create(new_record()).id

    def ids(status: Status) -> list[str]:
        return [found.id for found in store.list("default", status).records]

    assert (ids(Status.RUNNING), ids(Status.QUEUED)) == ([record.id], [waiting])
    store.succeed(record.id, token, result_of(record))
    assert (ids(Status.RUNNING), ids(Status.SUCCEEDED)) == ([], [record.id])
    assert len(store.list("default").records) == 2


def test_a_finished_job_is_forgotten_in_time_and_leaves_nothing(
    redis: Redis, settings: Settings
) -> None:
    store = JobStore(redis, settings.model_copy(update={"job_ttl_s": 1}))
    job_id = store.create(new_record()).id
    store.request_cancel(job_id)
    time.sleep(1.1)
    with pytest.raises(NotFound):
        store.get(job_id)
    assert store.list("default").records == []
    other = store.create(new_record()).id
    store.request_cancel(other)
    left: Any = redis.zrange(redis_keys.index("default"), 0, -1)
    assert left == [other.encode()]
    assert redis.exists(redis_keys.job(job_id), redis_keys.events(job_id)) == 0
