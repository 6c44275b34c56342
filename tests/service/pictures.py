"""Pictures to send with a request."""

from __future__ import annotations

import base64
import io

from PIL import Image


def png(size: tuple[int, int] = (40, 30), colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def noise(side: int) -> bytes:
    """A PNG that takes three bytes for each of its pixels."""
    buffer = io.BytesIO()
    channels = [Image.effect_noise((side, side), 99) for _ in range(3)]
    Image.merge("RGB", channels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def inline(data: bytes) -> dict[str, str]:
    """The picture as a field of a request."""
    return {"base64": base64.b64encode(data).decode()}
