"""The API in front of a real Redis and a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
from panoweave.service.openai.stream import _PartialImages
from panoweave.service.panoramas import subscriptions
from panoweave.service.panoramas.subscriptions import JobSubscription
from tests.service.server import publish_model, serving


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        yield client


@pytest.fixture
def bare_api(server: httpx.Client, redis: Redis) -> httpx.Client:  # noqa: ARG001
    """The API on an empty Redis: no worker has published a model yet."""
    return server


@pytest.fixture
def api(bare_api: httpx.Client, redis: Redis) -> httpx.Client:
    """The API, with a worker that holds the model."""
    publish_model(redis)
    return bare_api


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may kill, pause or fill."""
    with RedisServer(tmp_path / "data", tmp_path / "logs") as server:
        yield server


@pytest.fixture
def store(redis: Redis, settings: Settings) -> JobStore:
    return JobStore(redis, settings)


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


class Wait(NamedTuple):
    """Of a request that stays open: until its job changes, or `limit_s` have passed."""

    subscription: JobSubscription
    limit_s: float


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Wait]:
    """The waits that have begun. None ends after five seconds to look again: what ends one early
    is a change."""
    begun: list[Wait] = []
    wait = JobSubscription.wait

    async def note_and_wait(self: JobSubscription, limit_s: float = 600) -> None:
        begun.append(Wait(self, limit_s))
        await wait(self, limit_s)

    monkeypatch.setattr(subscriptions, "_MAX_WAIT_S", 600)
    monkeypatch.setattr(JobSubscription, "wait", note_and_wait)
    return begun


def waiting(waits: list[Wait]) -> int:
    """How many requests have begun to wait."""
    return len({id(each.subscription) for each in waits})


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps at which a stream of the OpenAI API has looked for a preview."""
    steps: list[int] = []
    look = _PartialImages.next

    def look_and_note(self: _PartialImages, record: JobRecord) -> bytes | None:
        found = look(self, record)
        if record.progress is not None:
            steps.append(record.progress.step)
        return found

    monkeypatch.setattr(_PartialImages, "next", look_and_note)
    return steps
