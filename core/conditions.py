"""The parts of a request beside its prompt: pictures, regions and edges. Torch-free."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams, Params
from panoweave.core.families import family_named
from panoweave.core.sizes import MAX_SIDE_PX

MAX_PROMPT_CHARS = 2_000
MAX_INLINE_CHARS = 7_000_000  # base64 of 5 MiB


def _refuse_blank(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("must not be blank")
    return prompt


Prompt = Annotated[
    str,
    # The pattern puts the rule into the published schema; the validator has the clearer message.
    Field(min_length=1, max_length=MAX_PROMPT_CHARS, json_schema_extra={"pattern": r"\S"}),
    AfterValidator(_refuse_blank),
]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
Place = Annotated[int, Field(ge=0, lt=MAX_SIDE_PX)]
ControlScale = Annotated[float, Field(ge=0, le=2)]


class ImageInput(Params):
    """A picture: in the request itself, or an object in the caller's part of the bucket."""

    # The rule of _check_one_source, for the published schema.
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"base64": {"type": "string"}}, "required": ["base64"]},
            "then": {"properties": {"key": {"type": "null"}}},
            "else": {"properties": {"key": {"type": "string"}}, "required": ["key"]},
        }
    )

    base64: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_INLINE_CHARS,
        json_schema_extra={"contentEncoding": "base64"},
        description="The bytes of a PNG, JPEG or WebP file, in base64.",
    )
    key: str | None = Field(
        None,
        min_length=1,
        max_length=1_024,
        description="The key of an uploaded object, from `POST /uploads`.",
    )

    @classmethod
    def inline(cls, file: bytes) -> Self:
        return cls(base64=b64encode(file).decode())

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if (self.base64 is None) is (self.key is None):
            raise ValueError("must have either base64 or key")
        return self


class Extend(Params):
    """A picture that keeps its pixels at its place; the panorama is painted around it."""

    image: ImageInput
    x: Place = Field(0, description="Pixels from the left edge to the picture.")
    y: Place = Field(0, description="Pixels from the top edge to the picture.")


class Region(Params):
    """A box or a mask with its own prompt, over the background that `prompt` describes.

    A box fades into what is around it; a mask is followed as it is painted.
    """

    # The rule of _check_box_or_mask, for the published schema.
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"mask": {"type": "object"}}, "required": ["mask"]},
            "then": {
                "properties": {
                    "x": {"type": "null"},
                    "y": {"const": 0},
                    "width": {"type": "null"},
                    "height": {"type": "null"},
                }
            },
            "else": {
                "properties": {"x": {"type": "integer"}, "width": {"type": "integer"}},
                "required": ["x", "width"],
            },
        }
    )

    prompt: Prompt
    negative_prompt: str = Field("", max_length=MAX_PROMPT_CHARS)
    x: Place | None = Field(None, description="Pixels from the left edge to the box.")
    y: Place = Field(0, description="Pixels from the top edge to the box.")
    width: Side | None = Field(None, description="Pixels.")
    height: Side | None = Field(None, description="Pixels. Default: to the bottom edge.")
    mask: ImageInput | None = Field(
        None,
        description="Instead of a box: a picture as large as the panorama, white where the prompt "
        "applies, black where it does not, grey in between.",
    )

    @model_validator(mode="after")
    def _check_box_or_mask(self) -> Self:
        has_box = self.x is not None and self.width is not None
        has_part_of_box = (
            self.x is not None or self.width is not None or self.height is not None or self.y > 0
        )
        if (self.mask and has_part_of_box) or not (self.mask or has_box):
            raise ValueError("must have either x and width, or mask")
        return self


def fade_length(length: float, window: float) -> float:
    """How far a box of this length fades, from each of its ends outwards and inwards.

    A quarter of a window, but not beyond the box's middle.
    """
    return min(window / 4, length / 2)


class ResolvedRegion(Region):
    is_only_answered: ClassVar[bool] = True

    # Stored with jobs: a field that a newer version added must not stop an older one.
    model_config = ConfigDict(extra="ignore")


def resolve_regions(
    regions: Sequence[Region], width: int, height: int, traits: CheckpointTraits
) -> list[ResolvedRegion]:
    """The regions of a picture of that size, in pixels. Raises InvalidParams."""
    return [
        _resolve_region(f"regions.{number}", region, width, height, traits)
        for number, region in enumerate(regions)
    ]


def _resolve_region(
    field: str, region: Region, width: int, height: int, traits: CheckpointTraits
) -> ResolvedRegion:
    """A box must begin and end at whole latents, inside the picture; a mask stays as it is."""
    if region.x is None or region.width is None:
        return ResolvedRegion.model_validate(region.model_dump())
    unit = traits.px_per_latent
    box_height = height - region.y if region.height is None else region.height
    for start, extent, begin, length, side in (
        ("x", "width", region.x, region.width, width),
        ("y", "height", region.y, box_height, height),
    ):
        if begin % unit or begin >= side:
            raise InvalidParams(
                f"{field}.{start}",
                f"a box cannot begin at {begin} px in a picture of {side} px",
                f"multiples of {unit} from 0 to {side - unit}",
            )
        if length % unit or begin + length > side:
            raise InvalidParams(
                f"{field}.{extent}",
                f"a box of {length} px from {begin} px does not fit a picture of {side} px",
                f"multiples of {unit} from {unit} to {side - begin}",
            )
    return ResolvedRegion.model_validate({**region.model_dump(), "height": box_height})


class Control(Params):
    """A picture as large as the panorama that says where things are; a ControlNet follows it."""

    type: Literal["canny", "hint"] = Field(
        description="'canny': the worker finds the edges of the image; 'hint': the image already "
        "is what the ControlNet was trained on (white lines on black, a depth map, ...)."
    )
    image: ImageInput
    scale: ControlScale = Field(1.0, description="How strictly the ControlNet is followed.")


def check_control(control: Control | None, traits: CheckpointTraits) -> None:
    """Raises InvalidParams."""
    family = family_named(traits.family)
    if control and not family.takes_controlnet:
        raise InvalidParams("control", f"{family.title} takes no ControlNet here", "null")
    if control and not traits.controlnet:
        raise InvalidParams(
            "control",
            "this checkpoint has no ControlNet",
            "null, or a worker that loads one (PANOWEAVE_CONTROLNET)",
        )
