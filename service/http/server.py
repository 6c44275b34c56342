"""How uvicorn serves the API."""

from __future__ import annotations

import resource
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from panoweave.core.infra.settings import Settings
from panoweave.service.http.connections import bounded_protocol

_OPEN_REQUESTS_GRACE_S: Final = 10
_OTHER_FILES: Final = 200  # what a process opens beside connections: Redis, S3, libraries
_MIN_CONNECTIONS: Final = 16


def server_config(app: FastAPI, settings: Settings, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        **{"host": settings.host, "port": settings.port, **more},
        http=bounded_protocol(_most_connections(settings.max_connections)),
        ws="none",
        log_config=None,
        access_log=False,  # panoweave.service.http.access_log writes one that names no client
        # A client that never hangs up must not keep the process from stopping.
        timeout_graceful_shutdown=_OPEN_REQUESTS_GRACE_S,
    )


def _most_connections(wanted: int) -> int:
    """The most connections that the open-file limit allows; raises the soft limit if needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(_MIN_CONNECTIONS, min(wanted, soft - _OTHER_FILES))
