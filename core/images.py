"""The pictures of a request: checked, and converted to 8-bit RGB. Torch-free.

The bytes come from outside, so only three formats are read, and nothing is decoded before its size
is checked.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.params import PanoramaParams, ResolvedParams

MAX_IMAGE_BYTES: Final = 20 * 2**20
MAX_IMAGE_PIXELS: Final = 2**26
FORMATS: Final = ("PNG", "JPEG", "WEBP")
_BACKGROUND: Final = (255, 255, 255)  # shown through transparent pixels
_SIXTEEN_BIT: Final = ("I", "I;16", "I;16B", "I;16L")


class BadImage(ValueError):
    """A picture that cannot be used: what is wrong with it, and what would be legal."""

    def __init__(self, problem: str, legal: str) -> None:
        super().__init__(f"{problem}; legal: {legal}")
        self.problem = problem
        self.legal = legal


def read_image(data: bytes) -> Image.Image:
    """A picture as 8-bit RGB, turned by its EXIF orientation, transparent pixels white.

    Raises BadImage if it is no picture, too large, or an animation.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise BadImage(f"{len(data):,} bytes", f"up to {MAX_IMAGE_BYTES:,} bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check(image)
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("too many pixels", f"up to {MAX_IMAGE_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise BadImage("not a picture in a known format", " or ".join(FORMATS)) from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadImage):
            raise
        raise BadImage("a broken picture", "a whole file") from error
    return _flatten(ImageOps.exif_transpose(image))


def read_inline(field: str, encoded: str) -> Image.Image:
    """The picture that a field of the request holds in base64. Raises InvalidParams."""
    try:
        return read_image(base64.b64decode(encoded, validate=True))
    except BadImage as error:
        raise InvalidParams(field, error.problem, error.legal) from error
    except ValueError as error:  # binascii.Error, or text that is not ASCII
        raise InvalidParams(
            f"{field}.base64", "is not base64", "the file's bytes in base64"
        ) from error


def to_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _check(image: Image.Image) -> None:
    """Raises BadImage. Reads the file's header only; no pixel is decoded yet."""
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"{width} x {height} pixels", f"up to {MAX_IMAGE_PIXELS:,} pixels")
    if getattr(image, "n_frames", 1) > 1:
        raise BadImage("an animation", "a still picture")


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        # Pillow's own conversion clips at 255.
        image = image.point(lambda level: level / 257).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    transparent = image.convert("RGBA")
    flat = Image.new("RGB", transparent.size, _BACKGROUND)
    flat.paste(transparent, mask=transparent.getchannel("A"))
    return flat


def image_inputs(params: PanoramaParams) -> dict[str, ImageInput]:
    """The pictures of a request, by field."""
    inputs = {"anchor_image": params.anchor_image}
    if params.extend:
        inputs["extend.image"] = params.extend.image
    if params.control:
        inputs["control.image"] = params.control.image
    for number, region in enumerate(params.regions):
        inputs[f"regions.{number}.mask"] = region.mask
    return {field: image for field, image in inputs.items() if image}


def with_image_inputs(params: ResolvedParams, inputs: Mapping[str, ImageInput]) -> ResolvedParams:
    """The same parameters with these pictures in place of their own."""
    moved: dict[str, object] = {}
    if "anchor_image" in inputs:
        moved["anchor_image"] = inputs["anchor_image"]
    if params.extend and "extend.image" in inputs:
        moved["extend"] = params.extend.model_copy(update={"image": inputs["extend.image"]})
    if params.control and "control.image" in inputs:
        moved["control"] = params.control.model_copy(update={"image": inputs["control.image"]})
    moved["regions"] = [
        region.model_copy(update={"mask": inputs.get(f"regions.{number}.mask")})
        for number, region in enumerate(params.regions)
    ]
    return params.model_copy(update=moved)


def check_image_sizes(
    params: ResolvedParams, sizes: Mapping[str, tuple[int, int]], traits: CheckpointTraits
) -> None:
    """Refuse a picture that does not fit its place. `sizes`: (width, height) in px, by field."""
    whole = (params.width, params.height)
    for field, size in sizes.items():
        if (field == "control.image" or field.endswith(".mask")) and size != whole:
            raise InvalidParams(
                field,
                f"{size[0]} x {size[1]} px is not the panorama's size",
                f"{whole[0]} x {whole[1]} px",
            )
    if not params.extend or "extend.image" not in sizes:
        return
    width, height = sizes["extend.image"]
    for side, name, begin, room in (
        (width, "x", params.extend.x, params.width),
        (height, "y", params.extend.y, params.height),
    ):
        unit = traits.px_per_latent
        if side % unit or side > room:
            raise InvalidParams(
                "extend.image",
                f"{width} x {height} px do not fit a panorama of {params.width} x {params.height}",
                f"sides that are multiples of {unit}, no longer than the panorama's",
            )
        if begin % unit or begin + side > room:
            raise InvalidParams(
                f"extend.{name}",
                f"a picture of {side} px that begins at {begin} px does not fit {room} px",
                f"multiples of {unit} from 0 to {room - side}",
            )
