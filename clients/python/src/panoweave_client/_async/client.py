"""The client: one method for each thing that the API does."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, Unpack
from urllib.parse import quote
from uuid import uuid4

import anyio
import httpx
from httpx_sse import ServerSentEvent, aconnect_sse

from panoweave_client import answers, requests
from panoweave_client._async.http import A, AsyncHttp, raise_if_no_stream, raise_if_refused
from panoweave_client.answers import PanoramaPage, PanoramaSummary, PanoramaView
from panoweave_client.errors import ApiError, PanoramaFailed
from panoweave_client.events import Event

_LONGEST_WAIT_S: Final = 60  # that the service offers
_LONGEST_SILENCE_S: Final = 45.0  # the service sends something every 15 s
_PAUSE_S: Final = 0.5  # after a stream that ended without an event, as of an API that is stopped
_PINGS: Final = "/webhooks/pings"


class AsyncPanoweave(AsyncHttp):
    """A client of one service. Use it in a `with` statement, or close it.

    Keyword arguments have the names of the API's own fields and parameters.
    """

    async def make(
        self,
        *,
        on_event: Callable[[Event], object] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
        **request: Unpack[requests.PanoramaRequest],
    ) -> PanoramaView:
        """Submit a panorama and wait for its picture. Raises PanoramaFailed if there is none.

        `on_event` is called with each event meanwhile. With the `idempotency_key` of an earlier
        call, as of one that a crash has ended, it goes on waiting for the same panorama.
        """
        panorama = await self.submit(
            idempotency_key=idempotency_key, traceparent=traceparent, **request
        )
        if on_event is not None:
            async for event in self.watch(panorama.id):
                on_event(event)
        panorama = await self.wait(panorama.id)
        if panorama.status != "succeeded":
            raise PanoramaFailed(panorama)
        return panorama

    async def submit(
        self,
        *,
        idempotency_key: str | None = None,
        wait_s: int | None = None,
        traceparent: str | None = None,
        **request: Unpack[requests.PanoramaRequest],
    ) -> PanoramaView:
        """Queue a panorama, and return it as it is then, or up to `wait_s` later if it ends.

        The service carries out a request only once for each `idempotency_key`, so it is sent again
        if an answer gets lost. Without one, each call has its own.
        """
        if (request.get("n") or 1) > 1:
            raise ValueError("n: submit makes one panorama; call submit_batch for more")
        options = {"idempotency_key": idempotency_key, "traceparent": traceparent}
        return await self._create(PanoramaView, request, wait_s=wait_s, **options)

    async def submit_batch(
        self,
        *,
        idempotency_key: str | None = None,
        wait_s: int | None = None,
        traceparent: str | None = None,
        **request: Unpack[requests.PanoramaRequest],
    ) -> Sequence[PanoramaView]:
        """As `submit`, for the `n` panoramas of one request. Their `batch_id` is the same."""
        options = {"idempotency_key": idempotency_key, "traceparent": traceparent}
        if (request.get("n") or 1) == 1:
            return [await self._create(PanoramaView, request, wait_s=wait_s, **options)]
        batch = await self._create(answers.PanoramaBatch, request, wait_s=wait_s, **options)
        return batch.items

    async def get(self, panorama_id: str, *, wait_s: int | None = None) -> PanoramaView:
        """The panorama as it is now, or up to `wait_s` (at most 60) later if it ends."""
        return await self._answer(PanoramaView, "GET", _path(panorama_id), wait_s=wait_s)

    async def wait(self, panorama_id: str, *, timeout_s: float = math.inf) -> PanoramaView:
        """The panorama when it has ended, however it did. Raises TimeoutError if it does not."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(deadline - time.monotonic(), 0)
            wait_s = math.ceil(min(left_s, _LONGEST_WAIT_S))
            panorama = await self.get(panorama_id, wait_s=wait_s)
            if panorama.finished_at is not None:
                return panorama
            if time.monotonic() >= deadline:
                raise TimeoutError(f"panorama {panorama_id} had not ended after {timeout_s:g} s")

    async def watch(
        self,
        panorama_id: str,
        *,
        last_event_id: str | None = None,
        **query: Unpack[requests.FollowEventsQuery],
    ) -> AsyncIterator[Event]:
        """The events, from the first one or from the one after `last_event_id`, to the end.

        After a lost connection they go on without a gap or a repeat.
        """
        retries = self._retries()
        while True:
            seen = last_event_id
            try:
                async with aconnect_sse(
                    self._http,
                    "GET",
                    _path(panorama_id, "events"),
                    timeout=_LONGEST_SILENCE_S,
                    **self._options(query, {"Last-Event-ID": last_event_id or None}),
                ) as source:
                    await raise_if_refused(source.response)
                    if source.response.status_code == 204:  # the last event was the end
                        return
                    raise_if_no_stream(source.response)
                    retries.reset()
                    async for sent in source.aiter_sse():
                        if not sent.data:  # httpx-sse makes an event of a keep-alive comment
                            continue
                        last_event_id = sent.id
                        yield _event(sent)
                if last_event_id == seen:
                    await anyio.sleep(_PAUSE_S)
            except (httpx.RequestError, ApiError) as error:
                await anyio.sleep(retries.pause_s(error))

    async def download(
        self, panorama_id: str, target: str | Path, **query: Unpack[requests.GetImageQuery]
    ) -> Path:
        """Write the picture to `target`. The file is there as a whole or not at all."""
        target = Path(target)
        part = target.with_name(f".{target.name}.{uuid4().hex}")
        retries = self._retries()
        try:
            while True:
                try:
                    async with self._stream(_path(panorama_id, "image"), query) as answer:
                        with part.open("wb") as file:
                            async for chunk in answer.aiter_bytes():
                                file.write(chunk)
                    return part.replace(target)
                except (httpx.RequestError, ApiError) as error:
                    await anyio.sleep(retries.pause_s(error))
        finally:
            part.unlink(missing_ok=True)

    async def image(self, panorama_id: str, **query: Unpack[requests.GetImageQuery]) -> bytes:
        """The finished picture's file."""
        return await self._file(_path(panorama_id, "image"), query)

    async def preview(self, panorama_id: str, **query: Unpack[requests.GetPreviewQuery]) -> bytes:
        """A JPEG: what the model predicts so far, or a small version of the finished picture."""
        return await self._file(_path(panorama_id, "preview"), query)

    async def cancel(self, panorama_id: str) -> PanoramaView:
        """Repeating it does no harm. The panorama cannot succeed any more."""
        return await self._answer(PanoramaView, "POST", _path(panorama_id, "cancel"))

    async def retry(self, panorama_id: str) -> PanoramaView:
        """Queue a failed panorama again."""
        path = _path(panorama_id, "retry")
        return await self._answer(PanoramaView, "POST", path, repeatable=False)

    async def delete(self, panorama_id: str) -> None:
        """Remove a panorama that has ended, with all its files."""
        await self._send("DELETE", _path(panorama_id), repeatable=False)

    async def list(
        self, **query: Unpack[requests.ListPanoramasQuery]
    ) -> AsyncIterator[PanoramaSummary]:
        """All panoramas, newest first, page by page; `limit` is the size of a page."""
        while True:
            page = await self.list_page(**query)
            for panorama in page.items:
                yield panorama
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def list_page(self, **query: Unpack[requests.ListPanoramasQuery]) -> PanoramaPage:
        """One page. Its `next_cursor` is the `cursor` of the next page."""
        return await self._answer(PanoramaPage, "GET", "/panoramas", query=query)

    async def upload(self, picture: bytes | str | Path) -> requests.ImageInput:
        """Upload a picture, as bytes or a file, that requests can then refer to."""
        content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        form = await self._answer(answers.UploadView, "POST", "/uploads")
        retries = self._retries()
        while True:
            try:
                stored = await self._http.post(
                    form.url, data=form.fields, files={"file": ("file", content)}
                )
                await raise_if_refused(stored)
                return {"key": form.key}
            except (httpx.RequestError, ApiError) as error:
                await anyio.sleep(retries.pause_s(error))

    async def deliveries(self, panorama_id: str) -> answers.DeliveryList:
        """The deliveries of the panorama's webhook, oldest first."""
        return await self._answer(answers.DeliveryList, "GET", _path(panorama_id, "deliveries"))

    async def redeliver(
        self, panorama_id: str, **query: Unpack[requests.RedeliverDeliveriesQuery]
    ) -> answers.DeliveryList:
        """Send deliveries again: those with these ids (`id`), or all that are dead."""
        path = _path(panorama_id, "deliveries/redeliver")
        return await self._answer(answers.DeliveryList, "POST", path, query=query)

    async def models(self) -> answers.ModelList:
        return await self._answer(answers.ModelList, "GET", "/models")

    async def usage(self, **query: Unpack[requests.GetUsageQuery]) -> answers.UsageView:
        return await self._answer(answers.UsageView, "GET", "/usage", query=query)

    async def create_token(self) -> answers.TokenView:
        """For URLs that a browser opens, where no API key can be sent: `?token=...`."""
        return await self._answer(answers.TokenView, "POST", "/tokens")

    async def livez(self) -> answers.Health:
        return await self._answer(answers.Health, "GET", "/livez")

    async def readyz(self) -> answers.Health:
        return await self._answer(answers.Health, "GET", "/readyz")

    async def status(self) -> answers.StatusView:
        """For operators: needs a key of scope `admin`."""
        return await self._answer(answers.StatusView, "GET", "/status")

    async def scaling(
        self, model: str, **query: Unpack[requests.GetScalingQuery]
    ) -> answers.ScalingView:
        """For operators: needs a key of scope `scaling`."""
        return await self._answer(
            answers.ScalingView, "GET", f"/scaling/{quote(model)}", query=query
        )

    async def create_key(self, **request: Unpack[requests.KeyRequest]) -> answers.NewKeyView:
        """An API key, with its token. Needs a key of scope `admin`, as all of these. It is not
        sent again after a lost answer: a second key would be made."""
        return await self._answer(
            answers.NewKeyView, "POST", "/keys", json=request, repeatable=False
        )

    async def keys(self) -> answers.KeyList:
        return await self._answer(answers.KeyList, "GET", "/keys")

    async def revoke_key(self, key_id: str) -> None:
        await self._send("DELETE", f"/keys/{quote(key_id, safe='')}")

    async def list_tenant_page(
        self, tenant: str, **query: Unpack[requests.ListTenantPanoramasQuery]
    ) -> PanoramaPage:
        """As `list_page`, of any tenant."""
        return await self._answer(PanoramaPage, "GET", _tenant_path(tenant), query=query)

    async def cancel_of_tenant(self, tenant: str, panorama_id: str) -> PanoramaView:
        path = f"{_tenant_path(tenant)}/{quote(panorama_id, safe='')}/cancel"
        return await self._answer(PanoramaView, "POST", path)

    async def ping_webhook(
        self, *, wait_s: int = 20, **request: Unpack[requests.PingRequest]
    ) -> answers.PingView:
        """Send a webhook to try an address, and wait up to `wait_s` for what the receiver answers.
        It is sent once."""
        return await self._answer(
            answers.PingView,
            "POST",
            _PINGS,
            json=request,
            wait_s=wait_s,
            repeatable=False,
        )

    async def webhook_ping(self, ping_id: str) -> answers.PingView:
        """The ping as it is now."""
        return await self._answer(answers.PingView, "GET", f"{_PINGS}/{quote(ping_id, safe='')}")

    async def metrics(self) -> str:
        """For operators: what Prometheus reads. Needs a key of scope `admin`."""
        return (await self._send("GET", "/metrics")).text

    async def _create(
        self,
        kind: type[A],
        request: requests.PanoramaRequest,
        *,
        idempotency_key: str | None,
        wait_s: int | None,
        traceparent: str | None,
    ) -> A:
        headers = {
            "Idempotency-Key": idempotency_key or str(uuid4()),
            "traceparent": traceparent,
        }
        return await self._answer(
            kind, "POST", "/panoramas", json=request, headers=headers, wait_s=wait_s
        )

    async def _file(self, path: str, query: requests.GetImageQuery) -> bytes:
        retries = self._retries()
        while True:
            try:
                async with self._stream(path, query) as answer:
                    return await answer.aread()
            except (httpx.RequestError, ApiError) as error:
                await anyio.sleep(retries.pause_s(error))


def _event(sent: ServerSentEvent) -> Event:
    return Event.model_validate({"id": sent.id, "event": sent.event, **sent.json()})


def _tenant_path(tenant: str) -> str:
    return f"/tenants/{quote(tenant, safe='')}/panoramas"


def _path(panorama_id: str, *below: str) -> str:
    return "/".join(["/panoramas", quote(panorama_id, safe=""), *below])
