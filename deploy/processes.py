"""The bodies of `panoweave api`, `worker` and `janitor`: one process each, until SIGTERM."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from deploy.errors import BadOption
from deploy.settings import read_settings
from deploy.threads import wait_politely

if TYPE_CHECKING:
    from core.jobs.settings import Settings

_OPEN_REQUESTS_GRACE_S = 10


def run_api() -> int:
    import uvicorn

    from service.app import UnsafeBind, check_bind, create_app

    settings = read_settings()
    try:
        check_bind(settings)
    except UnsafeBind as error:
        raise BadOption(str(error)) from error
    _log_to_stderr(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level.lower(),
        # A client that never hangs up must not keep the process from stopping.
        timeout_graceful_shutdown=_OPEN_REQUESTS_GRACE_S,
    )
    return 0


def run_worker() -> int:
    wait_politely()
    from worker import gpu

    settings = read_settings()
    _log_to_stderr(settings)
    return gpu.run_worker(settings)


def run_janitor() -> int:
    from worker import janitor

    settings = read_settings()
    _log_to_stderr(settings)
    return janitor.run_janitor(settings)


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
