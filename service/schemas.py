"""The JSON of requests and answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError

from panoweave.core.checkpoint import Params
from panoweave.core.jobs.listing import MAX_COUNTED
from panoweave.core.jobs.record import (
    Status,
    StoredFailureCode,
    StoredParams,
    StoredWarningCode,
    StoredWebhookEvent,
    WebhookEvent,
    is_none,
)
from panoweave.core.jobs.times import Timestamp
from panoweave.core.params import PanoramaParams
from panoweave.core.webhooks.deliveries import StoredState, StoredTryError
from panoweave.core.webhooks.targets import MAX_URL_CHARS
from panoweave.service.view import View

MAX_MODEL_CHARS = 1_024
MAX_PANORAMAS = 10  # of one request
MAX_PRIORITY = 9
MAX_START_WITHIN_S = 604_800
MIN_EXPIRES_IN_S, MAX_EXPIRES_IN_S = 60, 31_536_000
MAX_METADATA_BYTES = 8_192  # as JSON; a webhook carries it and stays below 20 kB

_TERMINAL_EVENTS: tuple[WebhookEvent, ...] = (
    "panorama.succeeded",
    "panorama.failed",
    "panorama.cancelled",
)


class WebhookRequest(Params):
    """A URL that receives events by POST, signed as Standard Webhooks specifies."""

    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        description="An https URL with a public host. Any 2xx answer confirms a delivery.",
    )
    events: Sequence[WebhookEvent] = Field(
        _TERMINAL_EVENTS,
        min_length=1,
        max_length=7,
        description="a list of the events to send, each named once: "
        + ", ".join(get_args(WebhookEvent))
        + ". Default: the ends of a panorama, and of its batch if `n` is above 1",
    )

    @field_validator("events")
    @classmethod
    def _are_named_once(cls, events: Sequence[WebhookEvent]) -> Sequence[WebhookEvent]:
        if len(set(events)) < len(events):
            raise ValueError("names an event twice")
        return events


class PanoramaRequest(Params):
    """A panorama to make: its parameters, its model, a webhook, and metadata of the caller's
    own."""

    # In JSON, the fields of `params` stand beside the others: see the validator below.
    params: PanoramaParams
    model: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_MODEL_CHARS,
        description="The model that makes it, one of this server's. Default: the server's default.",
    )
    n: int = Field(
        1,
        ge=1,
        le=MAX_PANORAMAS,
        description="How many panoramas to make. They are accepted together or not at all. With a "
        "`seed` their seeds count up from it; otherwise each has a random one. Above 1, the answer "
        "is a `PanoramaBatch`.",
    )
    priority: int = Field(
        0,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="Of the tenant's waiting panoramas, those of a higher priority are made first.",
    )
    start_within_s: int | None = Field(
        None,
        ge=1,
        le=MAX_START_WITHIN_S,
        description="If it has not begun after so many seconds, it becomes `expired` and is not "
        "made. Default: it waits for as long as it takes.",
    )
    expires_in: int | None = Field(
        None,
        ge=MIN_EXPIRES_IN_S,
        le=MAX_EXPIRES_IN_S,
        description="Seconds from its end until the panorama is deleted, with its picture. "
        "Default: the picture is kept.",
    )
    webhook: WebhookRequest | None = Field(
        None, description="Notifies the caller, who then need not poll."
    )
    metadata: dict[str, Any] = Field(
        {},
        description=f"any JSON object of up to {MAX_METADATA_BYTES:,} bytes; returned unchanged",
    )

    @field_validator("metadata")
    @classmethod
    def _metadata_is_small_json(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        try:
            text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except ValueError as error:
            raise ValueError("a number in it is too large for JSON") from error
        if (size := len(text.encode())) > MAX_METADATA_BYTES:
            raise ValueError(f"takes {size:,} bytes")
        return metadata

    @model_validator(mode="wrap")
    @classmethod
    def _validate_flat(cls, body: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Nest the parameters, validate, and name the fields of an error as the client did."""
        if not isinstance(body, dict):
            return validate(body)
        beside = cls.model_fields.keys() - {"params"}
        envelope = {name: value for name, value in body.items() if name in beside}
        params = {name: value for name, value in body.items() if name not in beside}
        try:
            return validate({"params": params, **envelope})
        except ValidationError as error:
            flat = [_without_params(each) for each in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(cls.__name__, flat, hide_input=True) from None

    @model_serializer(mode="wrap")
    def _serialize_flat(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialize(self)
        return {**fields.pop("params"), **fields}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        schema = handler.resolve_ref_schema(schema)
        envelope = schema["properties"]
        params = handler.resolve_ref_schema(envelope.pop("params"))
        schema["properties"] = params["properties"] | envelope
        schema["required"] = params["required"]
        return schema


def _without_params(error: ErrorDetails) -> InitErrorDetails:
    location = error["loc"]
    return InitErrorDetails(
        # Also what is not a custom error: pydantic cannot build all of its own from their names.
        type=PydanticCustomError(error["type"], error["msg"]),
        loc=location[1:] if location[:1] == ("params",) else location,
        input=error["input"],
    )


class ProgressView(View):
    phase: str = Field(description="`queued`, `starting`, the worker's current phase, or `done`.")
    step: int
    total_steps: int
    fraction: float = Field(description="0 to 1, over all phases.")
    eta_s: float | None = Field(description="Seconds until it is finished, if known.")
    has_preview: bool = Field(False, description="Whether `preview` has a picture to show.")


class WarningView(View):
    code: StoredWarningCode
    field: str = Field(description="The field of the request that it concerns.")
    detail: str


class LoraView(View):
    name: str
    scale: float
    sha256: str = Field(description="Of the LoRA's file.")


class ResultView(View):
    image_url: str = Field(
        description="A presigned URL. It expires: read the panorama again for a new one."
    )
    preview_url: str
    width: int
    height: int
    format: str
    bytes: int
    sha256: str
    coherence: dict[str, float | str]
    timings_s: dict[str, float]
    gpu_s: float | None = Field(
        description="Seconds that workers spent on it, in all attempts; null if it was made by a "
        "version that did not count them."
    )
    warnings: list[WarningView] = Field(
        description="Such as a prompt that is longer than what the model reads, words or a height "
        "that it was not trained on."
    )
    loras: list[LoraView] = Field(
        [],
        exclude_if=lambda loras: not loras,
        description="The LoRAs that it was made with. Absent without any.",
    )


class ErrorView(View):
    code: StoredFailureCode
    detail: str
    retryable: bool = Field(description="Whether the same request is likely to succeed later.")


class PanoramaView(View):
    id: str
    status: Status
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    queue_position: int | None = Field(
        description="How many panoramas are started before it; 0 is next."
    )
    progress: ProgressView | None
    model: str = Field(description="The model that it was accepted for, and that makes it.")
    params: StoredParams = Field(description="All parameters, with defaults filled in.")
    attempts: int
    estimate_s: float | None = Field(
        description="Seconds that making it was estimated to take when it was accepted; null if "
        "its workers had measured nothing yet."
    )
    cancel_requested: bool
    result: ResultView | None
    error: ErrorView | None
    metadata: dict[str, Any]
    batch_id: str | None = Field(
        None,
        exclude_if=is_none,
        description="Of the panoramas of one request, if it asked for several. Absent otherwise.",
    )
    priority: int | None = Field(
        None, exclude_if=is_none, description="The request's. Absent if it is 0."
    )
    start_by: Timestamp | None = Field(
        None,
        exclude_if=is_none,
        description="If it has not begun by then, it becomes `expired`. Absent without a deadline.",
    )
    expires_at: Timestamp | None = Field(
        None,
        exclude_if=is_none,
        description="When it is deleted with its picture, once it has ended. Absent if it is kept.",
    )


class PanoramaBatch(View):
    """The panoramas of one request that asked for several."""

    batch_id: str = Field(description="For `batch_id` of `GET /panoramas`.")
    items: list[PanoramaView] = Field(description="In the order of their seeds, if they count up.")


class PanoramaSummary(PanoramaView):
    """A panorama in a list. Long texts are shortened there."""

    shortened: bool = Field(
        description="Whether this item lacks something: prompts are cut to 200 characters, and "
        "`params.regions` and metadata of more than 1,000 characters are left out. Read the "
        "panorama itself for all of it."
    )


class PanoramaPage(View):
    items: list[PanoramaSummary]
    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last one."
    )
    total: int | None = Field(
        None,
        exclude_if=is_none,
        description="With `total=true`: how many there are on all pages. Absent if more than "
        f"{MAX_COUNTED:,} panoramas would have to be read to know it.",
    )


class TryView(View):
    at: Timestamp
    took_s: float
    status: int | None = Field(description="The receiver's status; null if it did not answer.")
    error: StoredTryError | None = Field(
        description="Why there was no answer; null if there was one."
    )


class DeliveryView(View):
    id: str = Field(description="The `webhook-id`, which is the same at every try.")
    type: StoredWebhookEvent
    happened_at: Timestamp
    state: StoredState = Field(
        description="`pending`; `delivered`; `dead`: given up, but can be redelivered; `gone`: the "
        "receiver answered 410, and gets no more events of this panorama."
    )
    next_try_at: Timestamp | None
    tries: list[TryView] = Field(description="Oldest first.")


class DeliveryList(View):
    url: str | None = Field(description="The receiver; null if the request had no webhook.")
    events: list[StoredWebhookEvent]
    items: list[DeliveryView] = Field(description="Oldest first.")


class EventView(View):
    """The data of one event. Its name says what happened, and its id is for `Last-Event-ID`."""

    status: Status = Field(description="The panorama's status after the event.")
    attempt: int
    progress: ProgressView | None = Field(None, description="In `progress` events.")
    reason: str | None = Field(None, description="In `requeued` events.")
    code: str | None = Field(None, description="In `failed` events: as `error.code`.")


class UploadView(View):
    key: str = Field(description="Refers to the picture in a request, once it is uploaded.")
    url: str = Field(description="POST a form (multipart/form-data) here.")
    method: Literal["POST"]
    fields: dict[str, str] = Field(
        description="The form's first fields, as they are. The last field is `file`: a PNG, JPEG "
        "or WebP file."
    )
    max_bytes: int = Field(description="S3 refuses a larger file.")
    expires_in_s: int


class UsageItem(View):
    period: str = Field(description="A day such as `2026-11-27`, or a month such as `2026-11`.")
    panoramas: int = Field(description="Panoramas that succeeded.")
    gpu_s: float = Field(
        description="Seconds of workers, in all attempts at all panoramas, also those that failed "
        "or were cancelled."
    )
    bytes: int = Field(description="Bytes of finished pictures.")


class UsageView(View):
    items: list[UsageItem] = Field(description="Periods in which something was used, oldest first.")
    kept_bytes: int = Field(description="Bytes that the records of the tenant's panoramas take.")
    max_kept_bytes: int = Field(description="Above this, new panoramas are refused.")


class TokenView(View):
    token: str = Field(description="For `?token=` of `events`, `image` and `preview`.")
    expires_in_s: int
