"""When the janitor takes a worker for lost, and when it had better wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.store import JobStore
from panoweave.worker import janitor
from panoweave.worker.health import Health
from tests.jobs.samples import new_record, start_job
from tests.processes import wait_until

AWAY = Health("failed", "Redis is away")


@pytest.fixture
def here(settings: Settings) -> Settings:
    brief = {"lease_s": 2.0, "heartbeat_s": 1.0, "janitor_interval_s": 0.1}
    return settings.model_copy(update=brief)


@pytest.fixture
def store(redis: Redis, here: Settings) -> JobStore:
    return JobStore(redis, here)


@contextmanager
def watching(store: JobStore, redis: Redis, settings: Settings) -> Iterator[list[Health]]:
    stopping, healths = threading.Event(), list[Health]()
    arguments = (stopping, store, Queue(redis), settings, healths.append)
    thread = threading.Thread(target=janitor.sweep_until, args=arguments, daemon=True)
    thread.start()
    try:
        yield healths
    finally:
        stopping.set()
        thread.join(10)


def silent(store: JobStore, redis: Redis) -> JobRecord:
    """A job whose lease has passed."""
    record = start_job(store, store.create(new_record()).id, "worker-1")
    redis.zadd(redis_keys.LEASES, {record.id: 0})
    return record


def test_who_could_not_beat_has_time_to(store: JobStore, redis: Redis, here: Settings) -> None:
    """So it is where Redis comes back after a while, or a janitor starts right then."""
    living, dead = silent(store, redis), silent(store, redis)
    assert living.token is not None
    with watching(store, redis, here):
        time.sleep(1)
        store.heartbeat(living.id, living.token)
        wait_until(lambda: store.get(dead.id).status is Status.QUEUED, 10)
        now = store.get(living.id)
    assert (now.status, now.token) == (Status.RUNNING, living.token)


def test_a_redis_that_takes_nothing_in_is_away(
    store: JobStore, redis: Redis, here: Settings
) -> None:
    """It answers what reads, and no lease can be renewed."""
    with watching(store, redis, here) as healths:
        time.sleep(here.lease_s + 0.5)  # by now it sweeps
        record = start_job(store, store.create(new_record()).id, "worker-1")
        try:
            redis.config_set("maxmemory", 1)
            wait_until(lambda: healths[-1] == AWAY, 10)  # the lease has passed
        finally:
            redis.config_set("maxmemory", 0)
        wait_until(lambda: healths[-1] == Health("ready"), 10)
        assert record.token is not None
        store.heartbeat(record.id, record.token)
        time.sleep(1)
        assert store.get(record.id).token == record.token


def test_a_sweep_expires_what_should_have_begun(store: JobStore, redis: Redis) -> None:
    queue = Queue(redis)
    record = store.create(new_record().model_copy(update={"start_within_s": 60}))
    janitor.sweep(store, queue)
    assert store.get(record.id).status is Status.QUEUED
    redis.hset(redis_keys.job(record.id), "start_by", 1)
    redis.zadd(redis_keys.START_DEADLINES, {record.id: 1})
    janitor.sweep(store, queue)
    assert store.get(record.id).status is Status.EXPIRED


def test_lost_jobs_wait_for_no_comparison(
    store: JobStore, redis: Redis, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_queue: Queue) -> None:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(Queue, "compare", fails)
    lost = silent(store, redis)
    with watching(store, redis, here.model_copy(update={"lease_s": 0.2})):
        wait_until(lambda: store.get(lost.id).status is Status.QUEUED, 10)
