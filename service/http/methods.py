"""Middleware that answers HEAD wherever GET answers. OPTIONS is answered by `error_handlers`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware. The application handles a GET; its status and headers are sent.

    The application is cancelled then, because the body may be a stream that does not end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        start: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def keep_start(message: Message) -> None:
            if message["type"] == "http.response.start" and not start.done():
                start.set_result(message)
            elif message.get("more_body", False):
                await asyncio.sleep(0)  # where a stream is cancelled

        get: asyncio.Future[None] = asyncio.ensure_future(
            self._app({**scope, "method": "GET"}, receive, keep_start)
        )
        try:
            both: list[asyncio.Future[Any]] = [get, start]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                await get  # it has failed
            await send(start.result())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            get.cancel()
            with suppress(asyncio.CancelledError):
                await get
