"""Reads a request's body before anything else does: small, JSON, and nothing that JSON is not."""

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

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class JsonBody:
    """ASGI middleware. Python's own reader, which FastAPI uses, would take NaN and Infinity."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(Headers(scope=scope), receive)
            if body:
                _require_json(Headers(scope=scope), body)
        except ServiceError as refused:
            await refused.response()(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


async def _read(headers: Headers, receive: Receive) -> bytes:
    too_large = BodyTooLarge(f"A body may have up to {MAX_BODY_BYTES:,} bytes.")
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
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
        # Its message is what was expected, and the line and column.
        raise MalformedJson(f"{str(error).capitalize()}.") from error


def _replay(body: bytes, receive: Receive) -> Receive:
    was_replayed = False

    async def replay() -> Message:
        nonlocal was_replayed
        if was_replayed:
            return await receive()  # a disconnect, later on
        was_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
