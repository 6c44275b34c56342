"""What is known of a job: its record, the states it passes through, and the legal moves."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from panoweave.core.jobs.failures import MEANINGS, FailureCode
from panoweave.core.output import FormatName
from panoweave.core.params import ResolvedParams

DEFAULT_TENANT = "default"

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_CHARS = 26  # 48 bits of milliseconds and 80 random bits, five bits a character
JOB_ID_PATTERN = rf"^pano_[{_CROCKFORD}]{{{_ID_CHARS}}}$"
JobId = Annotated[str, StringConstraints(pattern=JOB_ID_PATTERN)]


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.QUEUED, *TERMINAL}),
    **{status: frozenset() for status in TERMINAL},
    Status.FAILED: frozenset({Status.QUEUED}),  # a retry, by the caller's wish alone
}


class _Part(BaseModel):
    # What a newer version stored must not stop an older one during an upgrade; and a record that
    # cannot be read must not put its prompt into a log with the error.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Progress(_Part):
    phase: str = Field(max_length=32)
    step: int = Field(ge=0)
    total_steps: int = Field(ge=0)
    fraction: float = Field(ge=0, le=1)
    eta_s: float | None = Field(None, ge=0)


class ObjectKeys(_Part):
    """Where one attempt's objects lie. Attempts never share a key: a worker presumed dead
    cannot overwrite what its successor stored."""

    image: str
    preview: str
    metadata: str
    foreseen: str = ""  # while it is made; none in records of an earlier version

    @classmethod
    def of(cls, tenant: str, job_id: str, attempt: int, image_format: FormatName) -> Self:
        folder = f"{tenant}/{job_id}/{attempt}"
        return cls(
            image=f"{folder}/panorama.{image_format}",
            preview=f"{folder}/preview.jpg",
            metadata=f"{folder}/metadata.json",
            foreseen=f"{folder}/foreseen.jpg",
        )


class ResultWarning(_Part):
    """Something that the caller should know of a panorama that was made all the same."""

    code: Literal["prompt_truncated", "parameters_left_out"]
    field: str
    detail: str


class Result(_Part):
    keys: ObjectKeys
    width: int
    height: int
    format: str
    bytes: int
    sha256: str
    coherence: dict[str, float | str]
    timings_s: dict[str, float]
    warnings: list[ResultWarning] = []  # none in records of an earlier version


class Failure(_Part):
    code: FailureCode
    detail: str
    retryable: bool

    @classmethod
    def of(cls, code: FailureCode, **facts: object) -> Self:
        """The failure with its public wording; `facts` fill the wording's placeholders."""
        meaning = MEANINGS[code]
        return cls(code=code, detail=meaning.detail.format(**facts), retryable=meaning.retryable)


WebhookEvent = Literal[
    "panorama.started",
    "panorama.progress",
    "panorama.succeeded",
    "panorama.failed",
    "panorama.cancelled",
]


class Webhook(_Part):
    """Whom to tell, and of what."""

    url: str
    events: tuple[WebhookEvent, ...]


class Trace(_Part):
    """What the request that made a job is called elsewhere: by logs, and by tracing."""

    request_id: str
    traceparent: str | None = None  # W3C Trace Context


class JobRecord(_Part):
    """One job as Redis holds it. A snapshot: only `JobStore` moves a job on."""

    id: JobId
    tenant: str
    status: Status
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    params: ResolvedParams
    model: str
    attempts: int = 0
    losses: int = Field(0, description="Attempts that ended with their worker, since a retry.")
    token: str | None = Field(None, description="Names the current attempt; fences the others.")
    worker: str | None = None
    cancel_requested: bool = False
    progress: Progress | None = None
    result: Result | None = None
    error: Failure | None = None
    metadata: dict[str, Any] = {}
    webhook: Webhook | None = None
    trace: Trace | None = None  # none in records of an earlier version

    @classmethod
    def new(
        cls,
        params: ResolvedParams,
        model: str,
        tenant: str,
        metadata: dict[str, Any],
        job_id: str | None = None,
        webhook: Webhook | None = None,
        trace: Trace | None = None,
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
        )

    @property
    def keys(self) -> ObjectKeys:
        """Where the current attempt stores its objects."""
        return ObjectKeys.of(self.tenant, self.id, self.attempts, self.params.output.format)


def file_name(job_id: str, image_format: str) -> str:
    """What the picture is called where it is saved."""
    return f"{job_id}.{image_format}"


def new_job_id() -> str:
    return new_id("pano")


def new_id(kind: str) -> str:
    """`kind_` and a ULID: sorting ids sorts what they name by the millisecond it was made in."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    shifts = range(5 * (_ID_CHARS - 1), -1, -5)
    return f"{kind}_" + "".join(_CROCKFORD[number >> shift & 31] for shift in shifts)
