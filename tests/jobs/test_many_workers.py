"""What takes Redis long with a thousand workers is looked at once a second."""

from __future__ import annotations

from typing import Any

from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import TRAITS, new_record

MANY = 100


def start_workers(redis: Redis, first: int, count: int) -> None:
    for number in range(first, first + count):
        state = ModelState(
            model="embedded",
            state="ready",
            traits=TRAITS,
            perceptual="stlpips-alex",
            worker=f"worker-{number}",
        )
        models.publish(redis, state)


def looked_at(redis: Redis) -> int:
    """How many commands scripts and clients have sent so far."""
    stats: Any = redis.info("commandstats")
    return int(stats["cmdstat_get"]["calls"])


def test_many_workers_are_counted_once_a_second(redis: Redis, settings: Settings) -> None:
    store, queue = JobStore(redis, settings), Queue(redis)
    record = store.create(new_record())
    start_workers(redis, 0, MANY)
    assert queue.waiting()[0].workers == MANY
    assert queue.demand("embedded").workers == MANY
    before = looked_at(redis)
    for _ in range(10):
        queue.waiting()
        queue.estimate([record])
    assert looked_at(redis) - before < MANY

    start_workers(redis, MANY, 1)
    assert queue.waiting()[0].workers == MANY
    assert 0 < redis.pttl("panoweave:workers_by_model") <= 1_000
    assert 0 < redis.pttl("panoweave:queue_state_of:embedded") <= 1_000
    redis.delete("panoweave:workers_by_model", "panoweave:queue_state_of:embedded")  # a second on
    assert queue.waiting()[0].workers == MANY + 1
    assert queue.demand("embedded").workers == MANY + 1


def test_few_workers_are_counted_each_time(redis: Redis, settings: Settings) -> None:
    store, queue = JobStore(redis, settings), Queue(redis)
    store.create(new_record())
    for number in range(3):
        start_workers(redis, number, 1)
        assert queue.waiting()[0].workers == queue.demand("embedded").workers == number + 1
    assert not redis.exists("panoweave:workers_by_model", "panoweave:queue_state_of:embedded")


def test_an_estimate_reads_no_more_jobs_with_more_that_wait(
    redis: Redis, settings: Settings
) -> None:
    store, queue = JobStore(redis, settings), Queue(redis)
    few, many = 2, 12  # jobs of each of 200 tenants

    def jobs_read(record: JobRecord) -> int:
        before: Any = redis.info("commandstats")
        queue.estimate([record])
        after: Any = redis.info("commandstats")
        return int(after["cmdstat_hget"]["calls"] - before["cmdstat_hget"]["calls"])

    reads = []
    for jobs in (few, many - few):
        for _ in range(jobs):
            last = [store.create(new_record(f"tenant-{number}")) for number in range(200)][-1]
        reads.append(jobs_read(last))
    assert max(reads) < 1_300


def test_a_full_redis_still_answers_with_many_workers(redis: Redis, settings: Settings) -> None:
    store, queue = JobStore(redis, settings), Queue(redis)
    record = store.create(new_record())
    start_workers(redis, 0, MANY)
    redis.config_set("maxmemory", 1)
    try:
        assert queue.demand("embedded").workers == MANY
        assert queue.estimate([record]).places == {record.id: 0}
        assert queue.waiting()[0].workers == MANY
    finally:
        redis.config_set("maxmemory", 0)
