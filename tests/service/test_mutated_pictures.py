"""Mutated pictures through the whole API: read or refused, never an answer of 500 or above.

`tests/core/test_images.py` mutates them too, without the API in front of the reader.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis

from panoweave.core.infra.settings import Settings
from tests.service.pictures import inline
from tests.service.server import publish_model, serving

# Of 10,000 pictures with mutated EXIF and 2,000 mutated files of each format. 100 takes some
# 15 minutes: each request starts a process that reads its pictures.
_PERCENT = int(os.environ.get("MUTATED_PERCENT", "1"))
_SIDE = 128
_MASKS = 16  # pictures in one request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7_200), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def patient_api(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:
    """The API without limits on how much one tenant may ask for."""
    much = {
        "max_queued": 10**6,
        "tenant_max_queued": 10**6,
        "tenant_max_bytes": 2**40,
        "tenant_writes_per_minute": 10**6,
    }
    with serving(settings.model_copy(update=much)) as api:
        api.timeout = httpx.Timeout(600)  # a machine that has much else to do is no fault here
        publish_model(redis)
        yield api


def saved(image: Image.Image, kind: str, exif: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def exif_block() -> bytes:
    tags = Image.Exif()
    tags[0x112], tags[0x10F], tags[0x11A], tags[0x132] = 6, "a camera", 72.0, "2024:01:01 00:00:00"
    place = tags.get_ifd(0x8825)
    place[1], place[2] = "N", (1.0, 2.0, 3.0)
    tags.get_ifd(0x8769)[0x829A] = 0.01
    return tags.tobytes()


def mutated(whole: bytes, draw: random.Random, first: int = 0) -> bytes:
    changed = bytearray(whole)
    for _ in range(draw.randint(1, 6)):
        changed[draw.randrange(first, len(changed))] = draw.randrange(256)
    return bytes(changed)


def statuses(api: httpx.Client, bodies: Iterator[dict[str, Any]]) -> list[int]:
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda body: api.post("/panoramas", json=body), bodies)
        return [answer.status_code for answer in answers]


def test_mutated_exif_is_no_error(patient_api: httpx.Client) -> None:
    draw, block = random.Random(7), exif_block()
    photo = Image.linear_gradient("L").convert("RGB").resize((_SIDE, _SIDE))

    def request() -> dict[str, Any]:
        files = [
            saved(photo, draw.choice(["JPEG", "WEBP", "PNG"]), mutated(block, draw, first=6))
            for _ in range(_MASKS)
        ]
        regions = [{"prompt": "a tree", "mask": inline(file)} for file in files]
        return {"prompt": "a hill", "width": _SIDE, "height": _SIDE, "regions": regions}

    requests = 10_000 * _PERCENT // 100 // _MASKS
    found = statuses(patient_api, (request() for _ in range(requests)))
    assert found == [202] * requests


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_mutated_files_are_read_or_refused(patient_api: httpx.Client, kind: str) -> None:
    draw = random.Random(3)
    whole = saved(Image.effect_noise((48, 48), 60).convert("RGB"), kind)
    count = 2_000 * _PERCENT // 100
    bodies = (
        {"prompt": "a hill", "anchor_image": inline(mutated(whole, draw))} for _ in range(count)
    )
    found = statuses(patient_api, bodies)
    assert len(found) == count
    assert set(found) <= {202, 422}
