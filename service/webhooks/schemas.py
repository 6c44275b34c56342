"""What a webhook carries, as the OpenAPI document describes it and the worker builds it; and the
JSON of pings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from panoweave.core.checkpoint import Params
from panoweave.core.jobs.record import BatchEvent, PanoramaEvent, Status
from panoweave.core.jobs.times import Timestamp
from panoweave.core.webhooks.deliveries import StoredState
from panoweave.core.webhooks.targets import MAX_URL_CHARS
from panoweave.service.schemas import ErrorView, ProgressView, TryView
from panoweave.service.tenant_names import AskedTenant
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


class PingData(View):
    id: str = Field(description="Of the ping, which is of no panorama.")
    tenant: str


class PingMessage(View):
    """What `POST /webhooks/pings` sends."""

    type: Literal["webhook.ping"]
    timestamp: Timestamp = Field(description="When it was asked for.")
    data: PingData


class PingRequest(Params):
    tenant: AskedTenant = Field(description="Its secrets sign the webhook.", examples=["ada"])
    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        description="As the `url` of a `webhook`.",
        examples=["https://example.com/panoramas"],
    )


class PingView(View):
    id: str = Field(description="Also the `webhook-id`.")
    tenant: str
    url: str
    created_at: Timestamp
    state: StoredState = Field(
        description="`pending`: not tried yet; `delivered`; `dead`: it did not arrive; `gone`: the "
        "receiver answered 410."
    )
    tries: list[TryView] = Field(description="One at most.")


class WebhookMessage(View):
    type: PanoramaEvent
    timestamp: Timestamp = Field(description="When the event happened.")
    data: WebhookData
