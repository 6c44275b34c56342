"""Labelled pictures below one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_MARGIN_PX: Final = 4
_LABEL_PX: Final = 20


def stack(strips: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """A sheet as wide as the widest of them."""
    width = max(strip.width for _, strip in strips)
    height = sum(_LABEL_PX + strip.height + _MARGIN_PX for _, strip in strips)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    top = 0
    for label, strip in strips:
        draw.text((2, top + 2), label, fill="black", font=font)
        sheet.paste(strip, (0, top + _LABEL_PX))
        top += _LABEL_PX + strip.height + _MARGIN_PX
    return sheet
