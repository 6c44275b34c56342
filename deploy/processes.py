"""The bodies of `panoweave api`, `worker` and `janitor`: one process each, until SIGTERM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.errors import BadOption, DeployError
from deploy.logs import log_to_stderr
from deploy.settings import read_settings
from deploy.threads import wait_politely
from deploy.tracing import start_tracing

_OPEN_REQUESTS_GRACE_S = 10


def run_api() -> int:
    import uvicorn

    from core.jobs.api_keys import ApiKeys
    from core.jobs.connection import connect
    from core.jobs.failures import StoreUnavailable
    from service.app import create_app
    from service.auth import UnsafeBind, check_bind

    settings = read_settings()
    try:
        with connect(settings) as redis:
            check_bind(settings, ApiKeys(redis))
    except UnsafeBind as error:
        raise BadOption(str(error)) from error
    except StoreUnavailable as error:
        raise DeployError(
            f"PANOWEAVE_HOST={settings.host}: whether there are API keys cannot be told: {error}",
            "start Redis first, or use 127.0.0.1",
        ) from error
    start_tracing("panoweave-api")
    log_to_stderr(settings.log_level)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # service.access writes one that names no client
        # A client that never hangs up must not keep the process from stopping.
        timeout_graceful_shutdown=_OPEN_REQUESTS_GRACE_S,
    )
    return 0


def run_worker() -> int:
    wait_politely()
    from worker import gpu

    settings = read_settings()
    start_tracing("panoweave-worker")
    log_to_stderr(settings.log_level)
    with _metrics_port_named():
        return gpu.run_worker(settings)


def run_janitor() -> int:
    from worker import janitor

    settings = read_settings()
    log_to_stderr(settings.log_level)
    with _metrics_port_named():
        return janitor.run_janitor(settings)


@contextmanager
def _metrics_port_named() -> Iterator[None]:
    from worker.probes import CannotListen

    try:
        yield
    except CannotListen as error:
        raise BadOption(f"PANOWEAVE_METRICS_PORT: {error}") from error
