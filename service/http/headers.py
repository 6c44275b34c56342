"""Security headers for browsers, on every answer."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ON_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CROSS_ORIGIN = {"Cross-Origin-Resource-Policy": "cross-origin"}
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)


class SecurityHeaders:
    """ASGI middleware. CORS headers, which let pages of other origins read an answer, are in
    `cors`."""

    def __init__(self, app: ASGIApp, pages: frozenset[str], cross_origin: bool) -> None:
        """`pages`: paths of HTML pages, which may load scripts and styles of the same origin.
        `cross_origin`: whether pages of other origins may show pictures of this one."""
        self._app = app
        self._pages = pages
        self._headers = {**ON_EVERY_ANSWER, **(CROSS_ORIGIN if cross_origin else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                policy = _PAGE_POLICY if scope["path"] in self._pages else _DATA_POLICY
                headers.setdefault("Content-Security-Policy", policy)
            await send(message)

        await self._app(scope, receive, with_headers)
