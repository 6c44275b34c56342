"""Pictures in base64 inside of JSON. They are written in parts, because a panorama may be too large
to hold in memory."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from fastapi import Response
from fastapi.responses import JSONResponse, StreamingResponse

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord, Result, file_name
from panoweave.service.openai.schemas import ImageItem, ImagesAnswer
from panoweave.service.view import View

HERE = "*"  # stands for a picture until it is written; no other value of the answers has it
_BASE64_UNIT = 3


def images_answer(
    objects: ObjectStore, records: Sequence[JobRecord], *, as_urls: bool, headers: dict[str, str]
) -> Response:
    """The finished pictures. Raises ObjectStoreError."""
    results = [result_of(record) for record in records]
    answer = ImagesAnswer(
        created=finished_at(records[-1]),
        data=[
            ImageItem(
                id=record.id,
                url=objects.presign(result.keys.image, file_name(record.id, result.format))
                if as_urls
                else None,
                b64_json=None if as_urls else HERE,
            )
            for record, result in zip(records, results, strict=True)
        ],
        output_format=results[0].format,
        size=size_of(records[0]),
    )
    if as_urls:
        return JSONResponse(answer.model_dump(), headers=headers)
    texts = around_pictures(answer)
    length = sum(map(len, texts)) + sum(_encoded_size(result.bytes) for result in results)
    # The first one is opened before the answer begins, which can still be a 503 then.
    first = objects.open(results[0].keys.image).parts
    others = (objects.open(result.keys.image).parts for result in results[1:])
    pictures = map(encoded, chain([first], others))
    return StreamingResponse(
        _woven(texts, pictures),
        headers={**headers, "Content-Length": str(length)},
        media_type="application/json",
    )


def around_pictures(view: View) -> list[bytes]:
    """The JSON before, between and after the pictures."""
    return view.model_dump_json().encode().split(HERE.encode())


def encoded(parts: Iterable[bytes]) -> Iterator[bytes]:
    """In base64, which takes three bytes at a time."""
    left = b""
    for part in parts:
        left += part
        whole = len(left) - len(left) % _BASE64_UNIT
        yield base64.b64encode(left[:whole])
        left = left[whole:]
    yield base64.b64encode(left)


def result_of(record: JobRecord) -> Result:
    assert record.result is not None  # it has succeeded
    return record.result


def size_of(record: JobRecord) -> str:
    return f"{record.params.width}x{record.params.height}"


def finished_at(record: JobRecord) -> int:
    assert record.finished_at is not None
    return int(record.finished_at.timestamp())


def _encoded_size(size: int) -> int:
    return -(-size // _BASE64_UNIT) * 4


def _woven(texts: Sequence[bytes], pictures: Iterable[Iterator[bytes]]) -> Iterator[bytes]:
    yield texts[0]
    for text, picture in zip(texts[1:], pictures, strict=True):
        yield from picture
        yield text
