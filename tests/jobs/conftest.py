from __future__ import annotations

import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore


@pytest.fixture
def store(redis: Redis, settings: Settings) -> JobStore:
    return JobStore(redis, settings)


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)
