"""A panorama as OpenAI streams an image: predictions of it while it is made, then the picture.

Written as bytes, and not as FastAPI's events: the picture of the last event may be large.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final

from fastapi.concurrency import run_in_threadpool
from starlette.concurrency import iterate_in_threadpool

from panoweave.core.infra.errors import ObjectStoreError
from panoweave.core.jobs.errors import JobsError
from panoweave.core.jobs.record import TERMINAL, JobRecord
from panoweave.service.http.error_handlers import translate
from panoweave.service.http.errors import ServiceError
from panoweave.service.openai.errors import reshaped
from panoweave.service.openai.pictures import (
    HERE,
    around_pictures,
    encoded,
    finished_at,
    result_of,
    size_of,
)
from panoweave.service.openai.schemas import StreamedImage, TokenUsage
from panoweave.service.openai.waiting import ClientGone, Waiting

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

_PING_EVERY_S: Final = 15.0  # proxies close a connection that is silent for long
_PING: Final = b": ping\n\n"


async def image_events(waiting: Waiting, job_id: str, partial_images: int) -> AsyncIterator[bytes]:
    """An error is an event as well: the answer has begun."""
    try:
        async for part in _image_events(waiting, job_id, partial_images):
            yield part
    except ClientGone:
        return
    except (ServiceError, JobsError, ObjectStoreError) as error:
        problem = reshaped(translate(waiting.request, error).problem())
        yield b"event: error\ndata: " + problem.model_dump_json().encode() + b"\n\n"


async def _image_events(waiting: Waiting, job_id: str, partial_images: int) -> AsyncIterator[bytes]:
    partial = _PartialImages(waiting, partial_images)
    pinged_at = time.monotonic()
    with waiting.subscriptions.subscribe(job_id) as subscription:
        while True:
            record = await waiting.read(job_id)
            if record and record.status in TERMINAL:
                break
            if record and (event := await run_in_threadpool(partial.next, record)):
                yield event
            if time.monotonic() - pinged_at > _PING_EVERY_S:
                pinged_at = time.monotonic()
                yield _PING
            await waiting.for_news(subscription)
    waiting.require_picture(record)
    result = result_of(record)
    file = await run_in_threadpool(waiting.context.objects.open, result.keys.image)
    view = StreamedImage(
        type="image_generation.completed",
        b64_json=HERE,
        created_at=finished_at(record),
        size=size_of(record),
        output_format=result.format,
        id=record.id,
        usage=TokenUsage(),
    )
    async for part in iterate_in_threadpool(_event(view, file.parts)):
        yield part


class _PartialImages:
    """Up to `most` predictions, spread over the work: with two, at one and two thirds of it."""

    def __init__(self, waiting: Waiting, most: int) -> None:
        self._objects = waiting.context.objects
        self._most = most
        self._sent = 0
        self._last = b""

    def next(self, record: JobRecord) -> bytes | None:
        """The event of one that is due and differs from the last. The worker replaces it every few
        seconds, and no error of S3 ends the stream."""
        progress = record.progress
        if self._sent >= self._most or progress is None or not progress.has_preview:
            return None
        if progress.fraction < (self._sent + 1) / (self._most + 1):
            return None
        try:
            picture = self._objects.get(record.keys.foreseen)
        except ObjectStoreError:
            return None
        digest = hashlib.sha256(picture).digest()
        if digest == self._last:
            return None
        view = StreamedImage(
            type="image_generation.partial_image",
            b64_json=HERE,
            created_at=int(time.time()),
            size=size_of(record),
            output_format="jpeg",
            id=record.id,
            partial_image_index=self._sent,
        )
        self._last, self._sent = digest, self._sent + 1
        return b"".join(_event(view, [picture]))


def _event(view: StreamedImage, picture: Iterable[bytes]) -> Iterator[bytes]:
    before, after = around_pictures(view)
    yield f"event: {view.type}\ndata: ".encode() + before
    yield from encoded(picture)
    yield after + b"\n\n"
