from __future__ import annotations

import asyncio

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect_async
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events
from panoweave.core.jobs.record import Status
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE, new_record, progress, start_job


def test_events_are_read_on_from_any_of_them(store: JobStore, redis: Redis) -> None:
    record = start_job(store, store.create(new_record()).id, "worker-1")
    assert record.token is not None
    for step in range(1, 6):
        store.report(record.id, record.token, progress(step))
    everything = events.read(redis, record.id)
    assert [event.data.get("step") for event in everything] == [None, None, 1, 2, 3, 4, 5]
    resumed = events.read(redis, record.id, after=everything[2].id, limit=2)
    assert [event.data["step"] for event in resumed] == [2, 3]
    assert {event.status for event in resumed} == {Status.RUNNING}
    assert {event.attempt for event in resumed} == {1}
    assert events.read(redis, record.id, after=everything[-1].id) == []


def test_a_long_job_keeps_its_latest_events(store: JobStore, redis: Redis) -> None:
    record = start_job(store, store.create(new_record()).id, "worker-1")
    assert record.token is not None
    for step in range(1, 1_301):
        store.report(record.id, record.token, progress(step, 1_300))
    kept = events.read(redis, record.id, limit=2_000)
    assert 1_000 <= len(kept) < 1_200
    assert kept[-1].data["step"] == 1_300


def test_a_stream_goes_on_with_a_retry(store: JobStore, redis: Redis, settings: Settings) -> None:
    """The retry comes after the status was read, and before the events are read."""

    async def read_on() -> events.Reading:
        async with connect_async(settings) as connection:
            return await events.read_on(connection, record.id, after=events.FIRST)

    record = start_job(store, store.create(new_record()).id, "worker-1")
    assert record.token is not None
    failed = store.fail(record.id, record.token, FAILURE)
    assert asyncio.run(read_on()).is_over
    store.retry(failed)
    redis.hset(redis_keys.job(record.id), "status", Status.FAILED)  # as it was read
    read = asyncio.run(read_on())
    assert (read.events[-1].type, read.is_over) == ("retried", False)
