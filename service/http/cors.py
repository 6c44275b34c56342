"""CORS: which pages of other origins may use the API from a browser. None, by default."""

from __future__ import annotations

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from panoweave.core.infra.settings import Settings
from panoweave.service.http.access_log import REQUEST_ID

_METHODS: Final = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Traceparent",
    REQUEST_ID,
)
_RESPONSE_HEADERS: Final = (
    "Allow",
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    REQUEST_ID,
)
_PREFLIGHT_MAX_AGE_S: Final = 600


def allowed_origins(settings: Settings) -> list[str]:
    return [origin.strip() for origin in (settings.cors_origins or "").split(",") if origin.strip()]


class Cors(CORSMiddleware):
    """Answers preflights, which carry no key. Browsers send no cookies and need none."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
            max_age=_PREFLIGHT_MAX_AGE_S,
        )
