"""The bodies of `panoweave api`, `worker` and `janitor`: one process each, until SIGTERM."""

from __future__ import annotations

from deploy.settings import read_settings

_OPEN_REQUESTS_GRACE_S = 10


def run_api() -> int:
    import uvicorn
    from service.app import check_bind, create_app

    settings = read_settings()
    check_bind(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        # A client that never hangs up must not keep the process from stopping.
        timeout_graceful_shutdown=_OPEN_REQUESTS_GRACE_S,
    )
    return 0


def run_worker() -> int:
    from worker import gpu

    return gpu.run_worker(read_settings())


def run_janitor() -> int:
    from worker import janitor

    return janitor.run_janitor(read_settings())
