"""The JSON of OpenAI's images API: the part of it that panoramas have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from panoweave.core.checkpoint import Params
from panoweave.core.conditions import Prompt
from panoweave.core.jobs.record import is_none
from panoweave.core.params import MAX_SEED
from panoweave.service.schemas import MAX_MODEL_CHARS, MAX_PANORAMAS
from panoweave.service.view import View

MAX_PARTIAL_IMAGES = 3
_MAX_USER_CHARS = 256


class ImagesRequest(Params):
    """As OpenAI's clients send it. Other parameters of theirs are refused."""

    prompt: Prompt
    model: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_MODEL_CHARS,
        description="One of `GET /v1/models`. Default: the server's default.",
    )
    n: int = Field(
        1, ge=1, le=MAX_PANORAMAS, description="How many panoramas to make: 1 with `stream`."
    )
    size: str | None = Field(
        None,
        max_length=11,
        # Documented here and checked with the model's sizes.
        json_schema_extra={"pattern": "^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"},
        description="WIDTHxHEIGHT in pixels, such as `1536x256`. Default, and `auto`: six windows "
        "of the model wide, one high.",
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None,
        description="Not in OpenAI's API. The same seed gives the same panorama; the seeds of "
        "several panoramas count up from it.",
    )
    response_format: Literal["b64_json", "url"] = Field(
        "b64_json", description="The picture itself in base64, or a presigned URL."
    )
    output_format: Literal["png", "jpeg", "webp"] = Field("png", description="The file's format.")
    stream: bool = Field(
        False, description="Answer with server-sent events, of which the last has the picture."
    )
    partial_images: int = Field(
        0,
        ge=0,
        le=MAX_PARTIAL_IMAGES,
        description="With `stream`: how many predictions of the picture to send, as small JPEGs, "
        "while it is made. There may be fewer, if it is made soon.",
    )
    user: str | None = Field(
        None,
        min_length=1,
        max_length=_MAX_USER_CHARS,
        description="Kept as `user` in the panorama's metadata.",
    )


class ImageItem(View):
    b64_json: str | None = Field(None, exclude_if=is_none, description="The file in base64.")
    url: str | None = Field(
        None,
        exclude_if=is_none,
        description="A presigned URL of the file, which expires.",
    )
    id: str = Field(description="Not in OpenAI's API: the panorama, for `/panoramas/{job_id}`.")


class ImagesAnswer(View):
    created: int = Field(description="When the last one was finished, in seconds since 1970.")
    data: list[ImageItem]
    output_format: str
    size: str = Field(description="WIDTHxHEIGHT in pixels.")


class TokenDetails(View):
    image_tokens: int = 0
    text_tokens: int = 0


class TokenUsage(View):
    """Clients expect it. Panoramas are not counted in tokens, so all are 0."""

    input_tokens: int = 0
    input_tokens_details: TokenDetails = TokenDetails()
    output_tokens: int = 0
    total_tokens: int = 0


class StreamedImage(View):
    """The data of one event."""

    type: Literal["image_generation.partial_image", "image_generation.completed"]
    b64_json: str = Field(description="The picture in base64.")
    created_at: int
    size: str
    quality: Literal["auto"] = "auto"
    background: Literal["opaque"] = "opaque"
    output_format: str = Field(description="Of this event's picture. Partial ones are JPEGs.")
    id: str
    partial_image_index: int | None = Field(None, exclude_if=is_none)
    usage: TokenUsage | None = Field(None, exclude_if=is_none)


class OpenAIModel(View):
    id: str = Field(description="For `model` of a request.")
    object: Literal["model"] = "model"
    created: int = Field(0, description="Always 0: it is not known.")
    owned_by: Literal["panoweave"] = "panoweave"


class OpenAIModelList(View):
    object: Literal["list"] = "list"
    data: list[OpenAIModel] = Field(description="The default one first.")


class OpenAIError(View):
    message: str
    type: str = Field(
        description="`invalid_request_error`, `authentication_error`, `permission_error`, "
        "`rate_limit_error` or `server_error`."
    )
    param: str | None = Field(description="The first field at fault, if any.")
    code: str = Field(description="Stable: as in the errors of the other routes.")


class OpenAIProblem(View):
    """An error in OpenAI's shape."""

    error: OpenAIError
