"""Requests to the service: the API key, retries and errors."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

import anyio
import httpx
from pydantic import ValidationError

from panoweave_client.base import Answer
from panoweave_client.errors import ApiError, UnexpectedAnswer
from panoweave_client.retries import Retries
from panoweave_client.version import __version__

A = TypeVar("A", bound=Answer)

_TIMEOUT_S: Final = 30.0


class AsyncHttp:
    """A context manager, since it keeps connections open."""

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, retry_for_s: float = 60
    ) -> None:
        """`url` and `api_key` default to the environment variables PANOWEAVE_URL and
        PANOWEAVE_API_KEY.

        `retry_for_s`: how long a request is sent again while the service does not answer or asks
        to come back later.
        """
        url = url or os.environ.get("PANOWEAVE_URL") or "http://127.0.0.1:8000"
        api_key = api_key or os.environ.get("PANOWEAVE_API_KEY")
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url {url!r}: must begin with http:// or https://")
        self._url = url
        self._retry_for_s = retry_for_s
        # Not the client's own headers: uploads go to the object store, which must not get the key.
        self._headers = {"User-Agent": f"panoweave-client/{__version__}"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str | None] | None = None,
        json: object = None,
        wait_s: int | None = None,
        repeatable: bool = True,
    ) -> httpx.Response:
        """The answer, whose body has been read. None leaves a header or a parameter out."""
        retries = self._retries(repeatable=repeatable)
        options = self._options(query, {**(headers or {}), **prefer(wait_s)})
        if wait_s is not None:
            options["timeout"] = _TIMEOUT_S + wait_s
        while True:
            try:
                answer = await self._http.request(method, path, json=json, **options)
                await raise_if_refused(answer)
                return answer
            except (httpx.RequestError, ApiError) as error:
                await anyio.sleep(retries.pause_s(error))

    async def _answer(self, kind: type[A], method: str, path: str, **options: Any) -> A:
        answer = await self._send(method, path, **options)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise UnexpectedAnswer(answer) from error

    @asynccontextmanager
    async def _stream(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        """GET a file, from where the service redirects to: httpx does not send the key there."""
        options = self._options(query, {})
        async with self._http.stream("GET", path, follow_redirects=True, **options) as answer:
            await raise_if_refused(answer)
            yield answer

    def _retries(self, *, repeatable: bool = True) -> Retries:
        return Retries(self._url, self._retry_for_s, repeatable=repeatable)

    def _options(
        self, query: Mapping[str, Any] | None, headers: Mapping[str, str | None]
    ) -> dict[str, Any]:
        given = {name: value for name, value in headers.items() if value is not None}
        params = {name: value for name, value in (query or {}).items() if value is not None}
        return {"params": params, "headers": self._headers | given}


def prefer(wait_s: int | None) -> dict[str, str]:
    return {} if wait_s is None else {"Prefer": f"wait={wait_s}"}


async def raise_if_refused(answer: httpx.Response) -> None:
    if answer.is_error:
        await answer.aread()
        raise ApiError(answer)


def raise_if_no_stream(answer: httpx.Response) -> None:
    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        raise UnexpectedAnswer(answer)
