"""Pictures that come with a request: read with care, and brought to 8-bit RGB. Torch-free.

What a stranger sends may be anything: it is read as one of three formats or not at all, and only
after its size is known.
"""

from __future__ import annotations

import io
import warnings
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_IMAGE_BYTES: Final = 20 * 2**20
MAX_IMAGE_PIXELS: Final = 2**26
FORMATS: Final = ("PNG", "JPEG", "WEBP")
_BACKGROUND: Final = (255, 255, 255)  # what transparent pixels show
_SIXTEEN_BIT: Final = ("I", "I;16", "I;16B", "I;16L")


class BadImage(ValueError):
    """What is wrong with a picture, and what would be legal, in words for who sent it."""

    def __init__(self, problem: str, legal: str) -> None:
        super().__init__(f"{problem}; legal: {legal}")
        self.problem = problem
        self.legal = legal


def read_image(data: bytes) -> Image.Image:
    """A picture as 8-bit RGB, upright as its EXIF orientation says, over white.

    Raises BadImage where it is none, is too large, or moves.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise BadImage(f"{len(data):,} bytes", f"up to {MAX_IMAGE_BYTES:,} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check(image)
        image.load()
    except Image.DecompressionBombError as error:
        raise BadImage("too many pixels", f"up to {MAX_IMAGE_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise BadImage("no picture of a known format", " or ".join(FORMATS)) from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadImage):
            raise
        raise BadImage("a broken picture", "a whole file") from error
    return _flatten(ImageOps.exif_transpose(image))


def _check(image: Image.Image) -> None:
    """Before a single pixel is decoded."""
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"{width} x {height} pixels", f"up to {MAX_IMAGE_PIXELS:,} pixels")
    if getattr(image, "n_frames", 1) > 1:
        raise BadImage("a moving picture", "a still one")


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        # Pillow would cut off everything above 255.
        image = image.point(lambda level: level / 257).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    flat = Image.new("RGB", seen.size, _BACKGROUND)
    flat.paste(seen, mask=seen.getchannel("A"))
    return flat
