"""The file that a panorama becomes. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field

from panoweave.core.checkpoint import InvalidParams, Params

FormatName = Literal["png", "jpeg", "webp", "avif"]
Quality = Annotated[int, Field(ge=1, le=100)]

DEFAULT_QUALITY: Final = 90
MEDIA_TYPES: Final[Mapping[FormatName, str]] = MappingProxyType(
    {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}
)
# How the name of a file of each format ends.
SUFFIXES: Final[Mapping[str, FormatName]] = MappingProxyType(
    {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
)
_MAX_WEBP_SIDE_PX: Final = 16_383  # the format stores a side in 14 bits


class Output(Params):
    """The file's format."""

    format: FormatName = Field(
        "png", description="'png' is lossless; the others are smaller, depending on `quality`."
    )
    quality: Quality | None = Field(
        None, description=f"Of 'jpeg', 'webp' and 'avif'. Default: {DEFAULT_QUALITY}."
    )


def resolve_output(asked: Output, width: int, height: int) -> Output:
    """The output with its quality filled in, where the format has one. Raises InvalidParams."""
    if asked.format == "webp" and max(width, height) > _MAX_WEBP_SIDE_PX:
        raise InvalidParams(
            "output.format",
            f"'webp' cannot store a picture of {width} x {height} px",
            f"'png', 'jpeg' or 'avif', or sides of up to {_MAX_WEBP_SIDE_PX} px",
        )
    if asked.format != "png":
        quality = DEFAULT_QUALITY if asked.quality is None else asked.quality
        return asked.model_copy(update={"quality": quality})
    if asked.quality is not None:
        raise InvalidParams(
            "output.quality",
            "'png' is lossless and has no quality",
            "null, or another output.format",
        )
    return asked
