"""A job's record: its statuses, and everything that is stored about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from ulid import ULID

from panoweave.core.infra.stored import AsStored, KeepUnknown
from panoweave.core.jobs.failures import MEANINGS, FailureCode
from panoweave.core.output import FormatName
from panoweave.core.params import ResolvedParams

DEFAULT_TENANT = "default"

JOB_ID_PATTERN = r"^pano_[0123456789abcdefghjkmnpqrstvwxyz]{26}$"
JobId = Annotated[str, StringConstraints(pattern=JOB_ID_PATTERN)]
BATCH_ID_PATTERN = JOB_ID_PATTERN.replace("pano_", "batch_")


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # not begun by its deadline


StoredStatus = Annotated[Status, KeepUnknown()]
TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})


class _Part(BaseModel):
    # A field that a newer version stored must not stop an older one during an upgrade. An error
    # about a record that cannot be read must not show its prompt.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Progress(_Part):
    phase: str = Field(max_length=32)
    step: int = Field(ge=0)
    total_steps: int = Field(ge=0)
    fraction: float = Field(ge=0, le=1)
    eta_s: float | None = Field(None, ge=0)
    has_preview: bool = False  # absent in records of an earlier version


class ObjectKeys(_Part):
    """The keys of one attempt's objects.

    Attempts have different keys, unless Redis lost the start of one (see worker/job.py): a worker
    that was taken for lost cannot overwrite what its successor stored.
    """

    image: str
    preview: str
    metadata: str
    foreseen: str = ""  # the preview while it runs; absent in records of an earlier version

    @classmethod
    def of(cls, tenant: str, job_id: str, attempt: int, image_format: FormatName) -> Self:
        folder = f"{tenant}/{job_id}/{attempt}"
        return cls(
            image=f"{folder}/panorama.{image_format}",
            preview=f"{folder}/preview.jpg",
            metadata=f"{folder}/metadata.json",
            foreseen=f"{folder}/foreseen.jpg",
        )


WarningCode = Literal[
    "prompt_truncated",
    "unknown_words",
    "parameters_left_out",
    "higher_than_trained",
    "visible_join",
]
StoredWarningCode = Annotated[WarningCode, KeepUnknown()]


class ResultWarning(_Part):
    """Something that the caller should know about a panorama that was made all the same."""

    code: StoredWarningCode
    field: str
    detail: str


class UsedLora(_Part):
    """A LoRA that a panorama was made with."""

    name: str
    scale: float
    sha256: str = Field(description="Of its file.")


class Result(_Part):
    keys: ObjectKeys
    width: int
    height: int
    format: str
    bytes: int
    sha256: str
    coherence: dict[str, float | str]
    timings_s: dict[str, float]
    gpu_s: float | None = Field(None, description="Seconds of workers, over all attempts.")
    warnings: list[ResultWarning] = []  # absent in records of an earlier version
    loras: list[UsedLora] = Field([], exclude_if=lambda loras: not loras)


StoredFailureCode = Annotated[FailureCode, KeepUnknown()]


class Failure(_Part):
    code: StoredFailureCode
    detail: str
    retryable: bool

    @classmethod
    def of(cls, code: FailureCode, **facts: object) -> Self:
        """The failure with its public wording, whose placeholders `facts` fill."""
        meaning = MEANINGS[code]
        return cls(code=code, detail=meaning.detail.format(**facts), retryable=meaning.retryable)


PanoramaEvent = Literal[
    "panorama.started",
    "panorama.progress",
    "panorama.succeeded",
    "panorama.failed",
    "panorama.cancelled",
    "panorama.expired",
]
BatchEvent = Literal["batch.ended"]
WebhookEvent = Literal[PanoramaEvent, BatchEvent]
EXPIRED: Final = "panorama.expired"
PROGRESS: Final = "panorama.progress"
BATCH_ENDED: Final = "batch.ended"
StoredWebhookEvent = Annotated[WebhookEvent, KeepUnknown()]
PING: Final = "webhook.ping"  # of no job: see panoweave.core.webhooks.pings
StoredDeliveryType = Annotated[Literal[WebhookEvent, "webhook.ping"], KeepUnknown()]


class Webhook(_Part):
    """Where a job's webhooks go, and for which events."""

    url: str
    events: tuple[StoredWebhookEvent, ...]


class Trace(_Part):
    """The request that created a job, as logs and traces name it."""

    request_id: str
    traceparent: str | None = None  # W3C Trace Context


StoredParams = Annotated[ResolvedParams, AsStored()]


def is_none(value: object) -> bool:
    """Fields that few jobs have are left out of the others' JSON."""
    return value is None


class Terms(_Part):
    """When a job is made, and how long it is kept."""

    priority: int | None = Field(
        None, exclude_if=is_none, description="Among the tenant's waiting jobs; None is 0."
    )
    start_within_s: int | None = Field(
        None, exclude_if=is_none, description="If it has not begun by then, it is not made."
    )
    expires_in: int | None = Field(
        None, exclude_if=is_none, description="Seconds from its end until it is deleted."
    )


class JobRecord(Terms):
    """One job as Redis holds it. A snapshot: only `JobStore` changes a job's status."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    id: JobId
    tenant: str
    status: StoredStatus
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    params: StoredParams
    model: str
    attempts: int = 0
    estimate_s: float | None = Field(
        None, description="What making it was estimated to take when it was accepted."
    )
    run_ms: int = Field(0, description="How long its attempts ran, without the current one.")
    # Of run_ms, what does not count towards the limit on a job's time.
    run_ms_at_retry: int = 0
    # Stored as `losses`, in Redis and in metadata.json.
    lost_attempts: int = Field(
        0, alias="losses", description="Attempts that lost their worker, since the last retry."
    )
    token: str | None = Field(None, description="Of the current attempt; others are refused.")
    worker: str | None = None
    cancel_requested: bool = False
    progress: Progress | None = None
    result: Result | None = None
    error: Failure | None = None
    metadata: dict[str, Any] = {}
    webhook: Webhook | None = None
    trace: Trace | None = None  # absent in records of an earlier version
    batch_id: str | None = Field(
        None,
        exclude_if=is_none,
        description="Of the request, if it asked for several panoramas.",
    )
    start_by: datetime | None = Field(
        None, exclude_if=is_none, description="`start_within_s`, by Redis's clock."
    )

    @classmethod
    def new(
        cls,
        params: ResolvedParams,
        model: str,
        tenant: str,
        metadata: dict[str, Any],
        *,
        job_id: str | None = None,
        webhook: Webhook | None = None,
        trace: Trace | None = None,
        estimate_s: float | None = None,
        batch_id: str | None = None,
        terms: Terms | None = None,
    ) -> Self:
        return cls(
            id=job_id or new_job_id(),
            tenant=tenant,
            status=Status.QUEUED,
            created_at=datetime.now(UTC),
            params=params,
            model=model,
            metadata=metadata,
            webhook=webhook,
            trace=trace,
            estimate_s=estimate_s,
            batch_id=batch_id,
            **(terms.model_dump() if terms else {}),
        )

    @property
    def expires_at(self) -> datetime | None:
        """When it is deleted, if its request said so."""
        if self.expires_in is None or self.finished_at is None:
            return None
        return self.finished_at + timedelta(seconds=self.expires_in)

    @property
    def keys(self) -> ObjectKeys:
        """The keys under which the current attempt stores its objects."""
        return ObjectKeys.of(self.tenant, self.id, self.attempts, self.params.output.format)


def file_name(job_id: str, image_format: str) -> str:
    """The name under which a client saves the picture."""
    return f"{job_id}.{image_format}"


def new_job_id() -> str:
    return new_id("pano")


def job_ids(first: str, count: int) -> list[str]:
    """The ids of a request's jobs, in order. They follow from the first one, so that a request that
    is carried out again makes the same jobs."""
    number = int(ULID.from_str(first.removeprefix("pano_").upper()))
    return [f"pano_{str(ULID.from_int(number + each)).lower()}" for each in range(count)]


def batch_id_of(first: str) -> str:
    """The id of the batch whose first job this is."""
    return first.replace("pano_", "batch_")


def new_id(kind: str) -> str:
    """`kind_` and a ULID: ids sort by the millisecond in which they were made."""
    return f"{kind}_{str(ULID()).lower()}"
