"""Limits on a tenant's requests, and the headers that tell clients about them.

`RateLimit-Policy` and `RateLimit` follow the IETF draft (draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.jobs.rates import WINDOW_S, Kind, Rate
from panoweave.service.dependencies import Context
from panoweave.service.http.errors import RateLimited

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def count_request(request: Request, context: Context, tenant: str) -> None:
    """Count a request against its tenant's limit. Raises RateLimited or StoreUnavailable."""
    kind: Kind = "read" if request.method in SAFE_METHODS else "write"
    rate = await run_in_threadpool(context.rates.take, tenant, kind)
    request.state.rate = rate
    if not rate.may_pass:
        raise RateLimited(rate.kind, rate.limit, rate.retry_after_s)


async def count_more(request: Request, context: Context, tenant: str, count: int) -> None:
    """A request for several panoramas counts as that many requests, of which one is counted
    already. Raises RateLimited, StoreUnavailable, or InvalidParams where it can never pass."""
    if not count:
        return
    rate = await run_in_threadpool(context.rates.take, tenant, "write", count)
    request.state.rate = rate
    if count >= rate.limit:
        legal = f"1 to {rate.limit}" if rate.limit > 1 else "1"
        raise InvalidParams("n", f"each counts as a request, of {rate.limit} in a minute", legal)
    if not rate.may_pass:
        raise RateLimited(rate.kind, rate.limit, rate.retry_after_s)


class RateLimitHeaders:
    """ASGI middleware: answers to requests that were counted say how many may follow."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def with_headers(message: Message) -> None:
            rate: Rate | None = state.get("rate")
            if message["type"] == "http.response.start" and rate:
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"{rate.kind}";q={rate.limit};w={WINDOW_S}'
                headers["RateLimit"] = f'"{rate.kind}";r={rate.left};t={rate.full_after_s}'
            await send(message)

        await self._app(scope, receive, with_headers)
