"""Middleware that checks the API key of a request with a body, before the body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.service.http.auth import authenticate, bearer
from panoweave.service.http.error_handlers import respond
from panoweave.service.http.errors import ServiceError


class KeyBeforeBody:
    """ASGI middleware. A request without a body is authenticated by its route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _has_body(Headers(scope=scope)):
            request = Request(scope)
            try:
                await authenticate(request, request.app.state.context, await bearer(request))
            except (ServiceError, StoreUnavailable) as error:
                response = await respond(request, error)
                response.headers["Connection"] = "close"  # the body is not read
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0 ") != ""
