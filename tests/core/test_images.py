"""What a stranger sends as a picture."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panoweave.core.images import MAX_IMAGE_BYTES, BadImage, read_image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_three_formats_are_read(kind: str) -> None:
    image = read_image(saved(Image.new("RGB", (20, 10), (200, 30, 90)), kind))
    assert (image.mode, image.size) == ("RGB", (20, 10))
    assert np.abs(np.array(image.getpixel((5, 5)), float) - (200, 30, 90)).max() < 8


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_others_are_refused_by_name_of_those_that_are(kind: str) -> None:
    with pytest.raises(BadImage, match="PNG or JPEG or WEBP"):
        read_image(saved(Image.new("RGB", (4, 4)), kind))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage):
        read_image(data)


def test_half_a_picture_is_refused() -> None:
    whole = saved(Image.effect_noise((64, 64), 90), "PNG")
    with pytest.raises(BadImage, match="broken"):
        read_image(whole[: len(whole) // 2])


def bomb(side: int) -> bytes:
    """A PNG of so many pixels in a few bytes: its header says so, and its data are all zero."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8_193, 14_000, 60_000])
def test_a_decompression_bomb_is_not_unpacked(side: int) -> None:
    """Just above our limit, above Pillow's warning, above Pillow's error."""
    with pytest.raises(BadImage, match="67,108,864 pixels"):
        read_image(bomb(side))


def test_a_long_file_is_not_even_opened() -> None:
    with pytest.raises(BadImage, match="20,971,520 bytes"):
        read_image(b"\0" * (MAX_IMAGE_BYTES + 1))


def test_a_moving_picture_is_refused() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    with pytest.raises(BadImage, match="animation"):
        read_image(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


def test_a_camera_held_sideways() -> None:
    """EXIF orientation 6: what is stored lying is shown standing."""
    lying = Image.new("RGB", (40, 20), "blue")
    lying.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    standing = read_image(saved(lying, "PNG", exif=exif.tobytes()))
    assert standing.size == (20, 40)
    assert standing.getpixel((10, 5)) == (255, 0, 0)
    assert standing.getpixel((10, 35)) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    flat = read_image(saved(image.convert(mode), "PNG"))
    assert flat.getpixel((1, 1)) == (0, 0, 0)
    assert flat.getpixel((6, 6)) == (255, 255, 255)


def test_sixteen_bits_keep_their_brightness() -> None:
    levels = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    image = read_image(saved(Image.fromarray(levels), "PNG"))
    expected = np.repeat((levels / 257)[..., None], 3, axis=2)
    assert np.abs(np.asarray(image, float) - expected).max() <= 1


def test_colours_for_print_become_colours_for_screens() -> None:
    image = read_image(saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = image.getpixel((1, 1))  # type: ignore[misc]
    assert red > 200
    assert max(green, blue) < 60
