"""Middleware that reads a request's body, limits its size and checks that it is JSON."""

from __future__ import annotations

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panoweave.service.http.errors import (
    BodyTooLarge,
    MalformedJson,
    ServiceError,
    UnsupportedMediaType,
)

MAX_BODY_BYTES = 8 * 2**20  # room for a picture of 5 MiB in base64

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class JsonBody:
    """ASGI middleware that checks a body before the application sees it.

    FastAPI parses with Python's own `json`, which accepts NaN and Infinity. JSON does not have
    them, so they are refused here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _METHODS_WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            body = await _read(headers, receive)
            if body:
                _require_json(headers, body)
        except ServiceError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


async def _read(headers: Headers, receive: Receive) -> bytes:
    too_large = BodyTooLarge(f"A body may have up to {MAX_BODY_BYTES:,} bytes.")
    content_length = headers.get("content-length", "")
    if content_length.isdigit() and int(content_length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def _require_json(headers: Headers, body: bytes) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(
            "Send Content-Type: application/json.", headers={"Accept": "application/json"}
        )
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        # The message says what was expected and where. It does not quote the body.
        raise MalformedJson(f"{str(error).capitalize()}.") from error


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever the server receives: a disconnect."""
    was_sent = False

    async def replay() -> Message:
        nonlocal was_sent
        if was_sent:
            return await receive()
        was_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
