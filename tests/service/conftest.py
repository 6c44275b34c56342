"""The API in front of a real Redis and a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
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
