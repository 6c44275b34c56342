"""Serves the API on a real uvicorn, and checks every answer against the published contract."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.service.app import create_app
from panoweave.service.http.server import server_config
from tests.jobs.samples import TRAITS
from tests.service import conformance


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    conformance.contract()  # made here once, and not by several of a test's threads at a time
    # Its log records reach pytest.
    config = server_config(create_app(settings), settings, host="127.0.0.1", port=0)
    # `access_log=False` does the same, until pytest adds its handlers to every logger.
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


def publish_model(redis: Redis) -> None:
    """Publish the model as a worker does that holds it."""
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
