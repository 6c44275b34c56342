"""What callers see when Redis is gone, full, or back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError
from redis.retry import Retry

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events, models
from panoweave.core.jobs.errors import NotFound
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import Status
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
from tests.jobs.samples import new_record, start_job


def test_redis_goes_and_comes_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "data", tmp_path / "logs", password="hunter2")
    settings = Settings(redis_url=SecretStr(server.url))
    with server, connect(settings) as redis:
        store, queue = JobStore(redis, settings), Queue(redis)
        redis.config_set("appendfsync", "always")
        job_id = store.create(new_record()).id
        server.child.kill()

        began = time.monotonic()
        for call in (
            lambda: store.get(job_id),
            lambda: store.create(new_record()),
            lambda: store.list("default"),
            lambda: start_job(store, job_id, "worker-1"),
            lambda: store.lost(),
            lambda: queue.add_ticket("embedded"),
            lambda: queue.top_up(),
            lambda: queue.estimate([new_record()]),
            lambda: events.read(redis, job_id),
            lambda: models.get(redis, "embedded"),
        ):
            with pytest.raises(StoreUnavailable) as away:
                call()
            assert "hunter2" not in f"{away.value} {away.value.__cause__}"
        assert time.monotonic() - began < 30  # all ten; a fifth of a second on an idle machine

        server.start()
        assert start_job(store, job_id, "worker-1").status is Status.RUNNING


def test_no_call_waits_long(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(settings) as redis:
        options = redis.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (2, 2)
    retry: Retry = options["retry"]
    assert retry.get_retries() == 1
    pauses_s: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", pauses_s.append)
    with pytest.raises(ConnectionError):
        retry.call_with_retry(_refuse, lambda _: None)
    assert len(pauses_s) <= 1
    assert sum(pauses_s) <= 0.2


def _refuse() -> None:
    raise ConnectionError


def test_a_full_redis_takes_no_half_made_job(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "data", tmp_path / "logs") as server:
        settings = Settings(redis_url=SecretStr(server.url))
        with connect(settings) as redis:
            store = JobStore(redis, settings)
            redis.config_set("maxmemory", 1)
            record = new_record()
            with pytest.raises(StoreUnavailable):
                store.create(record)
            with pytest.raises(StoreUnavailable):
                Queue(redis).add_ticket("embedded")
            redis.config_set("maxmemory", 0)
            with pytest.raises(NotFound):
                store.get(record.id)
            assert redis.dbsize() == 0
