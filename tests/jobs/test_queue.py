from __future__ import annotations

import time
from typing import Any

import pytest
import rq
from redis import Redis

from core.jobs import keys
from core.jobs.queue import QUEUE_NAME, TASK, Queue
from core.jobs.settings import Settings
from core.jobs.store import JobStore
from tests.jobs.samples import new_record

SECRET_PROMPT = "a prompt that stays private"


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


@pytest.fixture
def store(redis: Redis, settings: Settings) -> JobStore:
    return JobStore(redis, settings)


def test_rq_gets_the_job_by_name_and_not_a_word_of_the_prompt(
    queue: Queue, store: JobStore, redis: Redis
) -> None:
    record = store.create(new_record(prompt=SECRET_PROMPT))
    queue.enqueue(record)
    (job,) = queue.rq.jobs
    assert (job.func_name, list(job.args)) == (TASK, [record.id])
    assert job.description == f"panorama {record.id}"
    fields: Any = redis.hgetall(job.key)
    assert SECRET_PROMPT.encode() not in b"".join(fields.values())


def test_jobs_wait_in_the_order_they_came(queue: Queue, store: JobStore) -> None:
    records = [store.create(new_record()) for _ in range(3)]
    for record in records:
        queue.enqueue(record)
        queue.enqueue(record)  # once is enough
    assert queue.depth() == 3
    assert [queue.position(record) for record in records] == [0, 1, 2]
    queue.remove(records[0])
    assert [queue.position(record) for record in records] == [None, 0, 1]


def test_each_attempt_is_a_delivery_of_its_own(queue: Queue, store: JobStore) -> None:
    record = store.create(new_record())
    queue.enqueue(record)
    started = store.start(record.id, "worker-1")
    assert started.token is not None
    queue.enqueue(store.requeue(record.id, started.token, "preempted"))
    assert queue.depth() == 2


def test_a_job_that_never_reached_rq_is_found(queue: Queue, store: JobStore) -> None:
    lost = store.create(new_record())
    waiting = store.create(new_record())
    queue.enqueue(waiting)
    assert queue.orphaned_queued(missing_for_s=0.1) == []  # it may be on its way
    time.sleep(0.12)
    assert queue.orphaned_queued(missing_for_s=0.1) == [lost.id]
    queue.enqueue(lost)
    assert queue.orphaned_queued(missing_for_s=0.1) == []


def test_a_job_between_rq_and_its_start_is_no_orphan(
    queue: Queue, store: JobStore, redis: Redis
) -> None:
    """It may have waited for hours: only the time out of the queue counts."""
    record = store.create(new_record())
    queue.enqueue(record)
    time.sleep(0.12)
    rq.Queue.dequeue_any([queue.rq], timeout=None, connection=redis, serializer=queue.rq.serializer)
    assert queue.orphaned_queued(missing_for_s=0.1) == []
    store.start(record.id, "worker-1")
    time.sleep(0.12)
    assert queue.orphaned_queued(missing_for_s=0.1) == []
    assert redis.zcard(keys.UNCLAIMED) == 0


def test_a_job_lost_between_rq_and_its_start_is_found(
    queue: Queue, store: JobStore, redis: Redis
) -> None:
    record = store.create(new_record())
    queue.enqueue(record)
    rq.Queue.dequeue_any([queue.rq], timeout=None, connection=redis, serializer=queue.rq.serializer)
    queue.orphaned_queued(missing_for_s=0.1)
    time.sleep(0.12)
    assert queue.orphaned_queued(missing_for_s=0.1) == [record.id]
    queue.enqueue(record)
    assert queue.position(record) == 0


def test_one_queue_carries_all(queue: Queue) -> None:
    """RQ moves a job safely (BLMOVE) only for a worker on a single queue."""
    assert queue.rq.name == QUEUE_NAME
