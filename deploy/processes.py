"""The bodies of `panoweave api`, `worker` and `janitor`: one process each, until SIGTERM."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from deploy.errors import BadOption, DeployError
from deploy.settings import read_settings
from deploy.threads import wait_politely

if TYPE_CHECKING:
    from core.jobs.settings import Settings

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
