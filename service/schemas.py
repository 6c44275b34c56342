"""The JSON that the API takes and gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from panoweave.core.checkpoint import CheckpointTraits, Params
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.models import WorkerState
from panoweave.core.jobs.record import Status, WebhookEvent
from panoweave.core.machine import PerceptualName
from panoweave.core.params import PanoramaParams, ResolvedParams
from panoweave.core.webhooks.deliveries import State, TryError
from panoweave.core.webhooks.targets import MAX_URL_CHARS

MAX_METADATA_BYTES = 8_192  # of JSON: webhooks carry it, and are to stay below 20 kB

_WHEN_IT_ENDED: tuple[WebhookEvent, ...] = (
    "panorama.succeeded",
    "panorama.failed",
    "panorama.cancelled",
)


class WebhookRequest(Params):
    """Whom to tell. What is sent is signed as Standard Webhooks has it."""

    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        description="https, and a public host. It is told by POST, and any 2xx ends it.",
    )
    events: Sequence[WebhookEvent] = Field(
        _WHEN_IT_ENDED,
        min_length=1,
        max_length=5,
        description="a list of the events to be told of, each named once: "
        + ", ".join(get_args(WebhookEvent)),
    )

    @field_validator("events")
    @classmethod
    def _are_named_once(cls, events: Sequence[WebhookEvent]) -> Sequence[WebhookEvent]:
        if len(set(events)) < len(events):
            raise ValueError("names an event twice")
        return events


class PanoramaRequest(PanoramaParams):
    """A panorama to make: its parameters, and what the caller wants to find again."""

    webhook: WebhookRequest | None = Field(
        None, description="Tells you when something has happened, in place of polling."
    )
    metadata: dict[str, Any] = Field(
        {},
        description=f"any JSON object of up to {MAX_METADATA_BYTES:,} bytes; given back as it is",
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

    def params(self) -> PanoramaParams:
        return PanoramaParams.model_validate(self.model_dump(exclude={"metadata", "webhook"}))


class _View(BaseModel):
    # A view that does not fit is a fault of ours: its values must not get into a log with it.
    model_config = ConfigDict(hide_input_in_errors=True)


class ProgressView(_View):
    phase: str = Field(description="`queued`, what the worker is at, or `done`.")
    step: int
    total_steps: int
    fraction: float = Field(description="0 to 1, over all phases.")
    eta_s: float | None = Field(description="Seconds until it is finished, where known.")


class WarningView(_View):
    code: Literal["prompt_truncated", "parameters_left_out"]
    field: str = Field(description="The field of the request that it is about.")
    detail: str


class ResultView(_View):
    image_url: str = Field(description="Presigned when read: fetch it soon, or read again.")
    preview_url: str
    width: int
    height: int
    format: str
    bytes: int
    sha256: str
    coherence: dict[str, float | str]
    timings_s: dict[str, float]
    warnings: list[WarningView] = Field(
        description="What to know of it: a prompt that was longer than the model reads, say."
    )


class ErrorView(_View):
    code: FailureCode
    detail: str
    retryable: bool = Field(description="Whether the same request may well succeed later.")


class PanoramaView(_View):
    id: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    queue_position: int | None = Field(description="How many are taken before it; 0 is next.")
    progress: ProgressView | None
    params: ResolvedParams = Field(description="All parameters, with what was left open filled in.")
    attempts: int
    cancel_requested: bool
    result: ResultView | None
    error: ErrorView | None
    metadata: dict[str, Any]


class PanoramaPage(_View):
    items: list[PanoramaView]
    next_cursor: str | None = Field(description="For the page that follows; null on the last.")


class TryView(_View):
    at: datetime
    took_s: float
    status: int | None = Field(description="What the receiver answered; null where it did not.")
    error: TryError | None = Field(description="Why there was no answer.")


class DeliveryView(_View):
    id: str = Field(description="The `webhook-id`: the same at every try.")
    type: WebhookEvent
    happened_at: datetime
    state: State = Field(
        description="`pending`; `delivered`; `dead`: given up, and may be redelivered; `gone`: the "
        "receiver answered 410, and is told no more of this panorama."
    )
    next_try_at: datetime | None
    tries: list[TryView] = Field(description="Oldest first.")


class DeliveryList(_View):
    url: str | None = Field(description="Whom it is told; null where no webhook was asked for.")
    events: list[WebhookEvent]
    items: list[DeliveryView] = Field(description="Oldest first.")


class EventView(_View):
    """The data of one event; its name says what happened, its id where to go on."""

    status: Status = Field(description="Of the panorama, once this had happened.")
    attempt: int
    progress: dict[str, Any] | None = Field(None, description="Of `progress` events.")
    reason: str | None = Field(None, description="Of `requeued` events.")


class UploadView(_View):
    key: str = Field(description="Names the object in requests, once it is there.")
    url: str = Field(description="Presigned: PUT the file here, PNG, JPEG or WebP.")
    method: Literal["PUT"]
    expires_in_s: int


class ModelView(_View):
    model: str
    state: Literal[WorkerState, "offline"]
    detail: str
    traits: CheckpointTraits | None = Field(description="Null until a worker has loaded it once.")
    perceptual: PerceptualName
    workers: int = Field(description="How many workers hold it now.")
    updated_at: datetime


class ModelList(_View):
    items: list[ModelView]


class WorkerView(_View):
    name: str
    model: str
    state: WorkerState
    detail: str


class StatusView(_View):
    queued: int = Field(description="Panoramas that wait, of all tenants.")
    running: int = Field(description="Panoramas that are being made.")
    workers: list[WorkerView] = Field(description="Those that live.")
    models: list[ModelView]
    s3: Literal["ok", "away"]


class Health(_View):
    status: Literal["alive", "ready"]
