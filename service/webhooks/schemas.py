"""The body of a webhook, as the OpenAPI document describes it. The worker builds it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from panoweave.core.jobs.record import BatchEvent, PanoramaEvent, Status
from panoweave.core.jobs.times import Timestamp
from panoweave.service.schemas import ErrorView, ProgressView
from panoweave.service.view import View


class WebhookResult(View):
    image_url: str = Field(description="A presigned URL, made for this try.")
    width: int
    height: int
    format: str
    bytes: int
    sha256: str
    gpu_s: float | None


class WebhookData(View):
    """The panorama at the event. Never with its prompt."""

    id: str
    attempt: int
    model: str
    status: Status
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None = Field(None, description="Once it has ended.")
    progress: ProgressView | None = Field(None, description="In `panorama.progress`.")
    result: WebhookResult | None = Field(None, description="In `panorama.succeeded`.")
    error: ErrorView | None = Field(None, description="In `panorama.failed`.")
    metadata: dict[str, Any]


class BatchItem(View):
    id: str
    status: Status
    error: ErrorView | None = Field(None, description="Of one that failed.")


class BatchData(View):
    """The panoramas of a request that asked for several, once all have ended."""

    id: str = Field(description="The `batch_id`.")
    items: list[BatchItem] = Field(description="In the order of their seeds, without deleted ones.")
    metadata: dict[str, Any]


class BatchMessage(View):
    type: BatchEvent
    timestamp: Timestamp = Field(description="When the last one ended.")
    data: BatchData


class WebhookMessage(View):
    type: PanoramaEvent
    timestamp: Timestamp = Field(description="When the event happened.")
    data: WebhookData
