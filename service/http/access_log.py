"""What is kept of each request: an id, a line in the log, and how long it took.

By its route's template. What the client wrote (path, query, body, headers) is kept nowhere.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry, Histogram
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info
from starlette.types import Scope
from structlog.contextvars import bind_contextvars, clear_contextvars

log = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-ID"

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def _is_probe(scope: Scope) -> bool:
    return scope["path"] in _PROBES


# FastAPI's own tracing makes one span a request where panoweave.deploy.serve.tracing set it up.
TELEMETRY: Final[TelemetryConfig] = {
    "auto_configure": False,
    "logs": False,
    "metrics": False,
    "operation_spans": False,
    "exclude": _is_probe,
}


def install(app: FastAPI, registry: CollectorRegistry) -> None:
    """Around all other middleware: what they refuse is a request too."""
    seconds = Histogram(
        "panoweave_http_request_duration_seconds",
        "From a request to the beginning of its answer.",
        ["method", "route", "status"],
        buckets=_BUCKETS_S,
        registry=registry,
    )

    def keep(info: Info) -> None:
        method = info.method if info.method in _METHODS else "other"
        route, status = info.modified_handler, info.modified_status
        seconds.labels(method, route, status).observe(info.modified_duration_without_streaming)
        told = {
            "method": method,
            "route": route,
            "status": int(status),
            "duration_s": round(info.modified_duration, 4),
        }
        # What asks every few seconds would bury the rest.
        level = logging.DEBUG if route in _PROBES else logging.INFO
        log.log(level, "request", extra=told)

    Instrumentator(should_group_status_codes=False).add(keep).instrument(app)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=REQUEST_ID,
        validator=lambda sent: _SANE_ID.fullmatch(sent) is not None,
        transformer=_begin,
    )


def _begin(request_id: str) -> str:
    """Every line that is logged from here on is of this request."""
    clear_contextvars()
    bind_contextvars(request_id=request_id)
    return request_id
