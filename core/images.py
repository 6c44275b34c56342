"""Pictures that come with a request: where they are in it, and which sizes fit. Torch-free."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

from PIL import Image

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.image_reader import BadImage, read_image
from panoweave.core.params import PanoramaParams, ResolvedParams

_DATA_URI: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.ASCII)


def decode_base64(field: str, encoded: str) -> bytes:
    """The file in a request's field: plain base64 or a data URI. Raises InvalidParams naming it."""
    prefix = _DATA_URI.match(encoded)
    try:
        return base64.b64decode(encoded[prefix.end() :] if prefix else encoded, validate=True)
    except ValueError as error:  # binascii.Error, or what is not even ASCII
        raise InvalidParams(
            f"{field}.base64",
            "no base64",
            "the file's bytes in base64, or data:image/png;base64, and the same (jpeg, webp)",
        ) from error


def read_inline(field: str, encoded: str) -> Image.Image:
    """The picture that a field of the request holds in base64. Raises InvalidParams."""
    try:
        return read_image(decode_base64(field, encoded))
    except BadImage as error:
        raise InvalidParams(field, error.problem, error.legal) from error


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
