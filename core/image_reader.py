"""Reads a picture that a stranger sent: within bounds, as 8-bit sRGB. Needs Pillow alone.

`read_image` can run in this process. Where the bytes come from a request, `core.image_process` runs
it in a process of its own, which may be killed.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import Final

from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

log = logging.getLogger(__name__)

MAX_IMAGE_BYTES: Final = 20 * 2**20
MAX_IMAGE_PIXELS: Final = 2**26
# Each scan is a pass over all pixels. A usual progressive JPEG has about ten.
MAX_JPEG_SCANS: Final = 50
FORMATS: Final = ("PNG", "JPEG", "WEBP")

_BACKGROUND: Final = (255, 255, 255)  # what transparent pixels show
_SIXTEEN_BIT: Final = ("I", "I;16", "I;16B", "I;16L")
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {  # the EXIF orientation, and what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_SCAN: Final = 0xDA
_JPEG_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xDA)})
_JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.S)  # as found in scan data


class BadImage(ValueError):
    """What is wrong with a picture, and what would be legal, in words for its sender."""

    def __init__(self, problem: str, legal: str) -> None:
        super().__init__(f"{problem}; legal: {legal}")
        self.problem = problem
        self.legal = legal


def read_image(data: bytes, max_bytes: int | None = MAX_IMAGE_BYTES) -> Image.Image:
    """A picture as 8-bit sRGB, upright as its EXIF orientation says, over white.

    `max_bytes=None` reads files of any length, such as panoweave's own copies. Raises BadImage for
    everything that is not one still picture within the bounds above.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise BadImage(f"{len(data):,} bytes", f"up to {max_bytes:,} bytes")
    try:
        image = _open(data)
        _check(image, data)
        image.load()
        upright = _upright(image)
        return _flatten(upright, image.info.get("icc_profile"))
    except (BadImage, MemoryError):
        raise
    except Exception as error:
        # A decoder may raise anything at all on bytes that were made to break it.
        raise BadImage("a broken picture", "a whole file") from error


def to_png(image: Image.Image) -> bytes:
    """The picture as a PNG file, written fast rather than small."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _open(data: bytes) -> Image.Image:
    """The file's first picture, with no pixel decoded yet."""
    if data.startswith(_JPEG_START):
        # Not Image.open, which takes a JPEG with a preview behind it for an animation (MPO).
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("too many pixels", f"up to {MAX_IMAGE_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise BadImage("no picture of a known format", " or ".join(FORMATS)) from error


def _check(image: Image.Image, data: bytes) -> None:
    """Refuse what would take too long to decode. Reads headers and markers only."""
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"{width} x {height} pixels", f"up to {MAX_IMAGE_PIXELS:,} pixels")
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        scans = sum(1 for _ in zip(_jpeg_scans(data), range(MAX_JPEG_SCANS + 1), strict=False))
        if scans > MAX_JPEG_SCANS:
            raise BadImage(
                f"a JPEG with more than {MAX_JPEG_SCANS} scans", f"up to {MAX_JPEG_SCANS} scans"
            )
    elif getattr(image, "n_frames", 1) > 1:
        raise BadImage("a moving picture", "a still one")


def _jpeg_scans(data: bytes) -> Iterator[int]:
    """Where each start-of-scan marker stands (ITU T.81, Annex B)."""
    place = 2
    while place + 4 <= len(data):
        marker = data[place + 1]
        if data[place] != 0xFF or marker == 0xFF:
            place += 1  # fill bytes between segments
            continue
        if marker in _JPEG_WITHOUT_LENGTH:
            place += 2
            continue
        if marker == _JPEG_SCAN:
            yield place
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == _JPEG_SCAN:
            behind = _JPEG_MARKER.search(data, place)
            if behind is None:
                return
            place = behind.start()


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the EXIF orientation says. Other EXIF fields are not read."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception as error:
        log.debug("EXIF that cannot be read: %s", type(error).__name__)
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(method) if method is not None else image


def _flatten(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """8-bit sRGB over white."""
    if image.mode in _SIXTEEN_BIT:
        # Pillow would cut off everything above 255.
        image = image.point(lambda level: level / 257).convert("L")
    if not image.has_transparency_data:
        if image.mode not in ("RGB", "L", "CMYK"):
            image = image.convert("RGB")
        return _to_srgb(image, icc_profile)
    seen = image.convert("RGBA")
    flat = Image.new("RGB", seen.size, _BACKGROUND)
    flat.paste(_to_srgb(seen.convert("RGB"), icc_profile), mask=seen.getchannel("A"))
    return flat


def _to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """RGB, L or CMYK as sRGB. A profile that is broken or of another mode is ignored."""
    if icc_profile:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
