"""What a stranger sends as a picture."""

from __future__ import annotations

import base64
import contextlib
import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.image_reader import MAX_IMAGE_BYTES, MAX_JPEG_SCANS, BadImage, read_image
from panoweave.core.images import read_inline


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
    with pytest.raises(BadImage, match="moving"):
        read_image(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


def test_a_camera_held_sideways() -> None:
    """EXIF orientation 6: what is stored on its side is shown upright."""
    lying = Image.new("RGB", (40, 20), "blue")
    lying.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = read_image(saved(lying, "PNG", exif=exif.tobytes()))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 0, 0)
    assert upright.getpixel((10, 35)) == (0, 0, 255)


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


def exif_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    head = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    return head + b"".join(struct.pack("<HHI4s", *entry) for entry in entries) + b"\0\0\0\0"


TURNED = (0x0112, 3, 1, b"\x06\0\0\0")


@pytest.mark.parametrize(
    "odd",
    [
        (0x0111, 2, 4, b"abc\0"),  # text where StripOffsets' number belongs
        (0x011A, 2, 4, b"72\0\0"),  # text where XResolution's fraction belongs
        (0x8769, 4, 1, b"\xff\xff\xff\xff"),  # a sub-directory outside the file
    ],
)
def test_odd_exif_beside_the_orientation_is_ignored(odd: tuple[int, int, int, bytes]) -> None:
    photo = saved(Image.new("RGB", (40, 20)), "JPEG", exif=exif_block(TURNED, odd))
    assert read_image(photo).size == (20, 40)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_broken_exif_is_no_error(kind: str) -> None:
    photo, tags, draw = Image.new("RGB", (16, 16)), Image.Exif(), random.Random(7)
    tags[0x112], tags[0x10F], tags[0x11A] = 6, "a camera", 72.0
    tags.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    block = tags.tobytes()
    for _ in range(300):
        changed = bytearray(block)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(6, len(changed))] = draw.choice([0, 1, 2, 3, 5, 7, 10, 255])
        assert read_image(saved(photo, kind, exif=bytes(changed))).size == (16, 16)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "AVIF"])
def test_mutated_files_are_read_or_refused(kind: str) -> None:
    draw = random.Random(3)
    whole = saved(Image.effect_noise((48, 48), 60).convert("RGB"), kind)
    for _ in range(200):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        with contextlib.suppress(BadImage):
            assert read_image(bytes(changed)).mode == "RGB"


def test_of_a_phones_photo_the_first_picture_is_taken() -> None:
    """A preview or a depth map behind it (MPF) does not make it an animation."""
    photo = Image.new("RGB", (64, 32), "red")
    two = saved(photo, "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    first = read_image(two)
    assert first.size == (64, 32)
    assert first.getpixel((3, 3))[0] > 200  # type: ignore[index]


def test_a_profile_that_is_broken_or_of_another_mode_is_ignored() -> None:
    colour = (10, 128, 200)
    of_lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (of_lab, b"broken"):
        file = saved(Image.new("RGB", (4, 4), colour), "PNG", icc_profile=profile)
        assert read_image(file).getpixel((1, 1)) == colour


def wide_gamut() -> bytes:
    """A profile with the primaries of Adobe RGB (1998), adapted to D50, and gamma 2.2."""

    def fixed(number: float) -> bytes:
        return struct.pack(">i", round(number * 65_536))

    def xyz(*numbers: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, numbers))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 79,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz(0.9505, 1, 1.0891),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    begin, table, data = 132 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        table += name + struct.pack(">II", begin + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    head = b"none" + b"\x02\x10\0\0" + b"mntrRGB XYZ " + b"\x07\xe8\0\x01\0\x01" + b"\0" * 6
    head += b"acsp" + b"\0" * 28 + fixed(0.9642) + fixed(1) + fixed(0.8249)
    body = head.ljust(124, b"\0") + struct.pack(">I", len(tags)) + table + data
    return struct.pack(">I", len(body) + 4) + body


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_wide_gamut_picture_has_the_colours_that_viewers_show(mode: str) -> None:
    colour = (200, 60, 60, 255)[: len(mode)]
    file = saved(Image.new(mode, (4, 4), colour), "PNG", icc_profile=wide_gamut())
    red, green, blue = read_image(file).getpixel((1, 1))  # type: ignore[misc]
    assert abs(red - 231) <= 2
    assert max(abs(green - 57), abs(blue - 57)) <= 2


def print_profile() -> bytes:
    """A profile of CMYK (a table of 2 x 2 x 2 x 2 colours) in which all inks are one red."""
    straight = bytes(range(256))
    red = bytes([140, 128 + 70, 128 + 50])  # L*, a*, b* in 8 bits
    table = (
        b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65_536, 0, 0, 0) * 2, 65_536)
    )
    table += straight * 4 + red * 16 + straight * 3
    head = b"none" + b"\x02\x10\0\0" + b"prtrCMYKLab " + b"\x07\xe8\0\x01\0\x01" + b"\0" * 6
    head += b"acsp" + b"\0" * 28 + struct.pack(">3i", 63_190, 65_536, 54_061)
    body = head.ljust(124, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table
    return struct.pack(">I", len(body) + 4) + body


def test_a_picture_for_print_has_the_colours_of_its_profile() -> None:
    """Without it, this one would be cyan."""
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = read_image(saved(cyan, "JPEG", icc_profile=print_profile())).getpixel((1, 1))  # type: ignore[misc]
    assert red > 2 * max(green, blue)
    red, green, blue = read_image(saved(cyan, "JPEG")).getpixel((1, 1))  # type: ignore[misc]
    assert min(green, blue) > 200


def progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan stands there again and again."""
    whole = saved(Image.effect_noise((32, 32), 60), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    own = whole.count(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * (scans - own) + b"\xff\xd9"


def test_scans_are_counted_before_they_are_decoded() -> None:
    read_image(progressive(MAX_JPEG_SCANS))
    with pytest.raises(BadImage, match="50 scans"):
        read_image(progressive(MAX_JPEG_SCANS + 1))


def test_our_own_copies_may_be_long() -> None:
    noise = Image.effect_noise((2_800, 2_800), 90).convert("RGB")
    copy = saved(noise, "PNG", compress_level=0)
    assert len(copy) > MAX_IMAGE_BYTES
    with pytest.raises(BadImage):
        read_image(copy)
    assert read_image(copy, max_bytes=None).size == (2_800, 2_800)


def test_data_uris_are_taken() -> None:
    file = base64.b64encode(saved(Image.new("RGB", (8, 4)), "PNG")).decode()
    assert read_inline("anchor_image", file).size == (8, 4)
    assert read_inline("anchor_image", f"data:image/png;base64,{file}").size == (8, 4)
    with pytest.raises(InvalidParams, match=r"anchor_image\.base64"):
        read_inline("anchor_image", f"data:text/plain;base64,{file}")
