"""Gives each request an id, logs it, and measures its duration.

Logs and metrics name the route's template. They never hold what the client sent: path, query,
headers or body.
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

from panoweave.core.infra.exemplars import current_exemplar

log = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-ID"

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def _is_probe(scope: Scope) -> bool:
    return scope["path"] in _PROBES


# FastAPI's own tracing: one span a request, if panoweave.deploy.serve.tracing has set it up.
TELEMETRY: Final[TelemetryConfig] = {
    "auto_configure": False,
    "logs": False,
    "metrics": False,
    "operation_spans": False,
    "exclude": _is_probe,
}


def install(app: FastAPI, registry: CollectorRegistry) -> None:
    """Call this after all other middleware is added, so that their refusals are recorded too."""
    seconds = Histogram(
        "panoweave_http_request_duration_seconds",
        "From a request to the beginning of its answer.",
        ["method", "route", "status"],
        buckets=_BUCKETS_S,
        registry=registry,
    )

    def record(info: Info) -> None:
        method = info.method if info.method in _METHODS else "other"
        route, status = info.modified_handler, info.modified_status
        histogram = seconds.labels(method, route, status)
        histogram.observe(info.modified_duration_without_streaming, current_exemplar())
        fields = {
            "method": method,
            "route": route,
            "status": int(status),
            "duration_s": round(info.modified_duration, 4),
        }
        # Probes come every few seconds and would bury the rest.
        level = logging.DEBUG if route in _PROBES else logging.INFO
        log.log(level, "request", extra=fields)

    Instrumentator(should_group_status_codes=False).add(record).instrument(app)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=REQUEST_ID,
        validator=lambda request_id: _VALID_ID.fullmatch(request_id) is not None,
        transformer=_bind_request_id,
    )


def _bind_request_id(request_id: str) -> str:
    """Add the id to every line that is logged while this request is handled."""
    clear_contextvars()
    bind_contextvars(request_id=request_id)
    return request_id
