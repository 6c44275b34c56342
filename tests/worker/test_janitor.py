"""When the janitor takes a worker for lost, and when it had better wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

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

AWAY = Health("failed", "Redis is away")


@pytest.fixture
def here(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_s": 60.0, "heartbeat_s": 20.0})


@pytest.fixture
def store(redis: Redis, here: Settings) -> JobStore:
    return JobStore(redis, here)


class Meanwhile(threading.Event):
    """An event to wait for that is set at last. During each wait before, something happens."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        super().__init__()
        self.waited_s: list[float] = []
        self._happens = iter(happens)

    def wait(self, timeout: float | None = None) -> bool:
        for happen in self._happens:
            assert timeout is not None
            self.waited_s.append(timeout)
            happen()
            return False
        return True


def nothing() -> None:
    pass


def silent(store: JobStore, redis: Redis) -> JobRecord:
    """A job whose lease has passed."""
    record = start_job(store, store.create(new_record()).id, "worker-1")
    redis.zadd(redis_keys.LEASES, {record.id: 0})
    return record


def test_who_could_not_beat_has_time_to(store: JobStore, redis: Redis, here: Settings) -> None:
    """So it is where Redis comes back after a while, or a janitor starts right then."""
    living, dead = silent(store, redis), silent(store, redis)

    def beat() -> None:
        assert store.get(dead.id).status is Status.RUNNING
        assert living.token is not None
        store.heartbeat(living.id, living.token)

    meanwhile = Meanwhile(nothing, beat)
    janitor.sweep_until(meanwhile, store, Queue(redis), here, lambda _: None)
    assert meanwhile.waited_s[-1] > here.heartbeat_s
    assert store.get(dead.id).status is Status.QUEUED
    now = store.get(living.id)
    assert (now.status, now.token) == (Status.RUNNING, living.token)


def test_a_redis_that_takes_nothing_in_is_away(
    store: JobStore, redis: Redis, here: Settings
) -> None:
    """It answers what reads, and no lease can be renewed."""
    healths: list[Health] = []
    records: list[JobRecord] = []

    def fill() -> None:
        assert healths[-1] == Health("ready")
        records.append(silent(store, redis))
        redis.config_set("maxmemory", 1)

    def is_away() -> None:
        assert healths[-1] == AWAY

    def make_room() -> None:
        is_away()
        redis.config_set("maxmemory", 0)

    def beat() -> None:
        assert healths[-1] == Health("ready")
        assert records[0].token is not None
        store.heartbeat(records[0].id, records[0].token)

    meanwhile = Meanwhile(nothing, nothing, fill, is_away, make_room, beat, nothing)
    try:
        janitor.sweep_until(meanwhile, store, Queue(redis), here, healths.append)
    finally:
        redis.config_set("maxmemory", 0)
    assert meanwhile.waited_s[5] > here.heartbeat_s
    now = store.get(records[0].id)
    assert (now.status, now.token) == (Status.RUNNING, records[0].token)


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
    janitor.sweep_until(Meanwhile(nothing, nothing), store, Queue(redis), here, lambda _: None)
    assert store.get(lost.id).status is Status.QUEUED
