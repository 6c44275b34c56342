"""Middleware that reads a request's body within bounds and checks that it is JSON.

Of a body, only as much is in memory as the process has room for (`BodyMemory`), and only for
`BODY_TIMEOUT_S`. A refusal that comes before the end of the body closes the connection.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi.concurrency import run_in_threadpool
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panoweave.service.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    MalformedJson,
    ServiceError,
    TooManyBodies,
    UnsupportedMediaType,
)

MAX_BODY_BYTES: Final = 8 * 2**20  # room for a picture of 5 MiB in base64
BODY_TIMEOUT_S: Final = 60.0

_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_LARGE_BYTES: Final = (
    64 * 2**10
)  # smaller bodies are parsed within milliseconds, whatever is in them
# Both are far more than the largest legal request has. They bound how long parsing takes: most of
# a large body has to be text, such as a picture in base64, which is parsed fast.
_MAX_SEPARATORS: Final = 100_000  # those in texts are counted too
_MAX_BYTES_OUTSIDE_TEXTS: Final = 256 * 2**10
_SEPARATORS: Final = (b",", b":", b"[", b"{", b'"')


class BodyMemory:
    """The bytes of all bodies that this process holds, of which there are at most `most`."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> None:
        """Raises TooManyBodies."""
        if size > self._left:
            raise TooManyBodies
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


class JsonBody:
    """ASGI middleware that checks a body before the application sees it.

    FastAPI parses with Python's own `json`, which accepts NaN and Infinity. JSON does not have
    them, so they are refused here.
    """

    def __init__(self, app: ASGIApp, memory: BodyMemory) -> None:
        self._app = app
        self._memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _METHODS_WITH_BODY:
            await self._app(scope, receive, send)
            return
        body = _Body(self._memory)
        try:
            await body.read(Headers(scope=scope), receive)
            if not body.is_complete:
                raise MalformedJson("The connection ended before the body did.")
            if body.size > _LARGE_BYTES:
                await run_in_threadpool(_require_json, body.content)
            elif body.size:
                _require_json(body.content)
            await self._app(scope, _replay(body.content, receive), send)
        except ServiceError as error:  # the application turns its own into answers
            if not body.is_complete:
                error.headers["Connection"] = "close"
            await error.response()(scope, receive, send)
        finally:
            self._memory.give_back(body.size)


class _Body:
    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.size = 0
        self.content = b""
        self.is_complete = False

    async def read(self, headers: Headers, receive: Receive) -> None:
        """Raises BodyTooLarge, BodyTooSlow, TooManyBodies or UnsupportedMediaType."""
        content_length = headers.get("content-length", "")
        if content_length.isdigit() and int(content_length) > MAX_BODY_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await self._read(headers, receive)
        except TimeoutError:
            raise BodyTooSlow(f"A body may take {BODY_TIMEOUT_S:g} s.") from None

    async def _read(self, headers: Headers, receive: Receive) -> None:
        parts = []
        while not self.is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if part := message.get("body", b""):
                if not self.size:
                    _require_plain_json(headers)
                if self.size + len(part) > MAX_BODY_BYTES:
                    raise _too_large()
                self._memory.take(len(part))
                self.size += len(part)
                parts.append(part)
            self.is_complete = not message.get("more_body", False)
        self.content = b"".join(parts)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"A body may have up to {MAX_BODY_BYTES:,} bytes.")


def _require_plain_json(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send Content-Type: application/json.")
    encodings = ",".join(headers.getlist("content-encoding")).lower().split(",")  # in order
    if not {encoding.strip() for encoding in encodings} <= {"", "identity"}:
        raise UnsupportedMediaType(
            "Send the body without Content-Encoding.", **{"Accept-Encoding": "identity"}
        )


def _require_json(body: bytes) -> None:
    """The parser refuses more than 200 levels and numbers of more than 4,300 digits by itself."""
    if len(body) > _LARGE_BYTES:
        separators = sum(body.count(separator) for separator in _SEPARATORS)
        if separators > _MAX_SEPARATORS or _bytes_outside_texts(body) > _MAX_BYTES_OUTSIDE_TEXTS:
            raise MalformedJson("It has too many values for a request.")
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        # The message says what was expected and where. It does not quote the body.
        raise MalformedJson(f"{str(error).capitalize()}.") from error


def _bytes_outside_texts(body: bytes) -> int:
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    return sum(map(len, body.split(b'"')[::2]))


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
