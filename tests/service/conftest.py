"""The API on a real uvicorn, in front of the real Redis and the real S3."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.service.app import create_app
from tests.jobs.samples import TRAITS
from tests.service import conformance


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    # No logging set-up of its own: what it says reaches the tests' capture.
    config = uvicorn.Config(
        create_app(settings), host="127.0.0.1", port=0, log_config=None, access_log=False
    )
    # As `access_log=False` does, until pytest puts its handlers on every logger.
    logging.getLogger("uvicorn.access").disabled = True
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "uvicorn did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        origin, hooks = httpx.URL(f"http://127.0.0.1:{port}"), {"response": [conformance.check]}
        with httpx.Client(base_url=origin, timeout=30, event_hooks=hooks) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        yield client


@pytest.fixture
def bare_api(server: httpx.Client, redis: Redis) -> httpx.Client:  # noqa: ARG001
    """The API on an empty Redis: no worker has said anything yet."""
    return server


def publish_model(redis: Redis) -> None:
    """As a worker that holds it does."""
    models.publish(
        redis,
        ModelState(
            model="embedded",
            state="ready",
            traits=TRAITS,
            perceptual="stlpips-alex",
            worker="worker-1",
        ),
    )


@pytest.fixture
def api(bare_api: httpx.Client, redis: Redis) -> httpx.Client:
    """The API, with a worker that holds the model."""
    publish_model(redis)
    return bare_api


@pytest.fixture
def store(redis: Redis, settings: Settings) -> JobStore:
    return JobStore(redis, settings)


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)
