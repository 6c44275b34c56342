"""Refusals under /v1 in OpenAI's shape: the same codes as elsewhere, in another JSON."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from panoweave.service.http.errors import MEDIA_TYPE, ServiceError
from panoweave.service.openai.schemas import OpenAIError, OpenAIProblem

PREFIX: Final = "/v1/"

_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def status_of(status: int) -> int:
    """OpenAI answers 400 to what cannot be accepted, and its clients know it as BadRequestError."""
    return 400 if status == 422 else status


def reshaped(problem: dict[str, Any]) -> OpenAIProblem:
    """A problem of RFC 9457 in OpenAI's shape. The message says what would be legal too."""
    status, fields = problem["status"], problem.get("errors") or []
    said = [
        f"{each['field']}: {each['detail']}"
        + (f"; legal: {each['legal']}" if each.get("legal") else "")
        for each in fields
    ]
    return OpenAIProblem(
        error=OpenAIError(
            message=". ".join(said) or problem["detail"],
            type=_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            param=fields[0]["field"] if fields else None,
            code=problem["code"],
        )
    )


def response(error: ServiceError) -> JSONResponse:
    """For what no middleware sees."""
    content = reshaped(error.problem()).model_dump()
    return JSONResponse(content, status_of(error.status), headers=error.headers)


def example(error: ServiceError) -> dict[str, Any]:
    return {"summary": error.title, "value": reshaped(error.problem()).model_dump()}


class OpenAIErrors:
    """ASGI middleware: refusals of all the other middleware and of the routes pass through it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def reshape(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                if MutableHeaders(scope=message).get("content-type") == MEDIA_TYPE:
                    start = message
                    return
            elif start is not None:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send(start, body, send)
                return
            await send(message)

        await self._app(scope, receive, reshape)


async def _send(start: Message, body: bytes, send: Send) -> None:
    headers = MutableHeaders(scope=start)
    headers["content-type"] = "application/json"
    if body:  # there is none in the answer to HEAD
        body = reshaped(json.loads(body)).model_dump_json().encode()
        headers["content-length"] = str(len(body))
    await send({**start, "status": status_of(start["status"]), "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})
