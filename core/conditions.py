"""What a request can bring beside its prompt: pictures, regions, edges. Torch-free."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from panoweave.core.checkpoint import Params
from panoweave.core.sizes import MAX_SIDE_PX

MAX_PROMPT_CHARS = 2_000
MAX_INLINE_CHARS = 7_000_000  # base64 of 5 MiB


def _says_something(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("must hold more than white space")
    return prompt


Prompt = Annotated[
    str,
    # The pattern says in the published schema what the validator says better.
    Field(min_length=1, max_length=MAX_PROMPT_CHARS, json_schema_extra={"pattern": r"\S"}),
    AfterValidator(_says_something),
]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
Place = Annotated[int, Field(ge=0, lt=MAX_SIDE_PX)]
ControlScale = Annotated[float, Field(ge=0, le=2)]


class ImageInput(Params):
    """A picture: in the request itself, or an object in the caller's part of the bucket."""

    # What _is_in_one_place says, for readers of the published schema.
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
        description="The file itself, PNG, JPEG or WebP, in base64.",
    )
    key: str | None = Field(
        None,
        min_length=1,
        max_length=1_024,
        description="An object's key, as `POST /uploads` gives it.",
    )

    @classmethod
    def inline(cls, file: bytes) -> Self:
        return cls(base64=b64encode(file).decode())

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if (self.base64 is None) is (self.key is None):
            raise ValueError("must hold either base64 or key")
        return self


class Extend(Params):
    """A picture that stays as it is in its place; the panorama grows around it."""

    image: ImageInput
    x: Place = Field(0, description="Pixels from the left edge to the picture.")
    y: Place = Field(0, description="Pixels from the top edge to the picture.")


class Region(Params):
    """A box, or a mask, with a prompt of its own over the background that `prompt` describes."""

    # What _is_a_box_or_a_mask says, for readers of the published schema.
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
    height: Side | None = Field(None, description="Pixels. Default: down to the bottom edge.")
    mask: ImageInput | None = Field(
        None,
        description="In place of a box: a picture of the panorama's size, white where the prompt "
        "holds, black where it does not, grey between.",
    )

    @model_validator(mode="after")
    def _is_a_box_or_a_mask(self) -> Self:
        has_box = self.x is not None and self.width is not None
        says_box = has_box or self.x is not None or self.width is not None or self.height or self.y
        if (self.mask and says_box) or not (self.mask or has_box):
            raise ValueError("must hold either x and width, or mask")
        return self


class Control(Params):
    """Where things are: what a ControlNet follows, as large as the panorama."""

    type: Literal["canny", "hint"] = Field(
        description="'canny': the image's edges are the hint; 'hint': the image is one already, "
        "as the ControlNet knows them (white lines on black, depths, ...)."
    )
    image: ImageInput
    scale: ControlScale = Field(1.0, description="How strictly the hint is followed.")
