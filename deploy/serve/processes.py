"""`panoweave api`, `worker` and `janitor`: each runs in this process until SIGTERM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.serve.logs import log_to_stderr
from panoweave.deploy.serve.threads import limit_spinning
from panoweave.deploy.serve.tracing import start_tracing

_OPEN_REQUESTS_GRACE_S = 10


def run_api() -> int:
    import uvicorn

    from panoweave.core.infra.api_keys import ApiKeys
    from panoweave.core.infra.errors import StoreUnavailable
    from panoweave.core.infra.redis import connect
    from panoweave.service.app import create_app
    from panoweave.service.http.auth import UnsafeBind, check_bind

    settings = read_settings()
    try:
        with connect(settings) as redis:
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
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # panoweave.service.http.access_log writes one without client addresses
        # A client that never hangs up must not keep the process from stopping.
        timeout_graceful_shutdown=_OPEN_REQUESTS_GRACE_S,
    )
    return 0


def run_worker() -> int:
    limit_spinning()
    from panoweave.worker import main

    settings = read_settings()
    start_tracing("panoweave-worker")
    log_to_stderr(settings.log_level)
    with _metrics_port_named():
        return main.run_worker(settings)


def run_janitor() -> int:
    from panoweave.worker import janitor

    settings = read_settings()
    log_to_stderr(settings.log_level)
    with _metrics_port_named():
        return janitor.run_janitor(settings)


@contextmanager
def _metrics_port_named() -> Iterator[None]:
    from panoweave.worker.health import CannotListen

    try:
        yield
    except CannotListen as error:
        raise BadOption(f"PANOWEAVE_METRICS_PORT: {error}") from error
