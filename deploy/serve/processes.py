"""`panoweave api`, `worker` and `janitor`: each runs in this process until SIGTERM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.serve.collector import uncollected
from panoweave.deploy.serve.logs import log_to_stderr
from panoweave.deploy.serve.threads import limit_spinning
from panoweave.deploy.serve.tracing import start_tracing

if TYPE_CHECKING:
    from redis import Redis

_STARTUP_FAILURE: Final = 3  # uvicorn's


def run_api() -> int:
    with uncollected():
        import uvicorn

        from panoweave.core.infra.api_keys import ApiKeys
        from panoweave.core.infra.errors import StoreUnavailable
        from panoweave.core.infra.redis import connect
        from panoweave.service.app import create_app
        from panoweave.service.http.auth import UnsafeBind, check_bind
        from panoweave.service.http.server import server_config

    settings = read_settings()
    try:
        with connect(settings) as redis:
            _refuse_cluster(redis)
            check_bind(settings, ApiKeys(redis))
    except UnsafeBind as error:
        raise BadOption(str(error)) from error
    except StoreUnavailable as error:
        raise DeployError(
            f"PANOWEAVE_HOST={settings.host} needs API keys, and Redis cannot be asked: {error}",
            "start Redis first, or set PANOWEAVE_HOST=127.0.0.1",
        ) from error
    start_tracing("panoweave-api")
    log_to_stderr(settings.log_level)
    with uncollected():
        app = create_app(settings)
        # FastAPI would build it, and what it knows of each route, at the first request that needs
        # it. All other requests would wait for 0.2 s.
        app.openapi()
    server = uvicorn.Server(server_config(app, settings))
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else _STARTUP_FAILURE


def run_worker(gpus: int) -> int:
    limit_spinning()
    with uncollected():
        from panoweave.core.infra.redis import connect
        from panoweave.deploy.serve.ranks import other_ranks
        from panoweave.worker import main

    settings = read_settings()
    with connect(settings) as redis:
        _refuse_cluster(redis)
    start_tracing("panoweave-worker")
    log_to_stderr(settings.log_level)
    with ExitStack() as resources:
        resources.enter_context(_metrics_port_named())
        if gpus == 1:
            return main.run_worker(settings)
        return main.run_worker(settings, resources.enter_context(other_ranks(settings, gpus)))


def run_janitor() -> int:
    from panoweave.core.infra.redis import connect
    from panoweave.worker import janitor

    settings = read_settings()
    with connect(settings) as redis:
        _refuse_cluster(redis)
    log_to_stderr(settings.log_level)
    with _metrics_port_named():
        return janitor.run_janitor(settings)


def _refuse_cluster(redis: Redis) -> None:
    from panoweave.core.infra.errors import RedisIsCluster
    from panoweave.core.infra.redis import refuse_cluster

    try:
        refuse_cluster(redis)
    except RedisIsCluster as error:
        raise BadOption(str(error), error.remedy) from error


@contextmanager
def _metrics_port_named() -> Iterator[None]:
    from panoweave.worker.health import CannotListen

    try:
        yield
    except CannotListen as error:
        raise BadOption(f"PANOWEAVE_METRICS_PORT: {error}") from error
