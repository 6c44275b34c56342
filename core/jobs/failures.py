"""What can go wrong with a job: exceptions for the code, codes for the public.

    JobsError
    ├── NotFound            no such job, or another tenant's
    ├── Refused             the record did not allow the move; carries the record
    │   ├── IllegalMove     its status does not
    │   └── StaleAttempt    the caller's attempt is over, another may have begun
    ├── QueueFull           as many jobs wait as may
    │   └── TenantQueueFull of this tenant
    ├── ModelNotReady       no worker has published the model yet
    ├── StoreUnavailable    Redis is away, loading, read-only or full
    └── ObjectStoreError    S3 is away, or refused

A *code* is what a client reads in `error.code` of a failed job: stable, documented, never a
traceback.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from panoweave.core.jobs.record import JobRecord


class JobsError(Exception):
    """Base of what this package raises on purpose."""


class NotFound(JobsError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class Refused(JobsError):
    def __init__(self, move: str, record: JobRecord) -> None:
        super().__init__(f"{move} refused: {record.id} is {record.status}")
        self.move = move
        self.record = record


class IllegalMove(Refused):
    """The job's status allows no such move."""


class StaleAttempt(Refused):
    """The caller's attempt is no longer the one that counts: it must stop and commit nothing."""


class QueueFull(JobsError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs wait already")
        self.limit = limit


class TenantQueueFull(QueueFull):
    """Of one tenant's."""


class ModelNotReady(JobsError):
    def __init__(self, model: str) -> None:
        super().__init__(f"no worker has published the model {model!r} yet")
        self.model = model


class StoreUnavailable(JobsError):
    """Redis did not take the command. Nothing is known to have happened; try again later."""


class ObjectStoreError(JobsError):
    """The object store did not do what was asked, after bounded retries."""


class NoSuchObject(ObjectStoreError):
    """It answered that this one is not there: asking again gets no other answer."""


class FailureCode(StrEnum):
    WORKER_LOST = "worker_lost"
    OUT_OF_MEMORY = "out_of_memory"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    GENERATION_FAILED = "generation_failed"
    INVALID_PARAMS = "invalid_params"
    STEP_TIMEOUT = "step_timeout"
    INTERNAL_ERROR = "internal_error"


class Meaning(NamedTuple):
    detail: str  # a str.format template
    retryable: bool  # whether the same request may well succeed later


MEANINGS: dict[FailureCode, Meaning] = {
    FailureCode.WORKER_LOST: Meaning("The worker was lost in each of {attempts} attempts.", True),
    FailureCode.OUT_OF_MEMORY: Meaning(
        "The GPU ran out of memory, with the smallest window batch too.", False
    ),
    FailureCode.STORAGE_UNAVAILABLE: Meaning("The panorama could not be stored.", True),
    FailureCode.GENERATION_FAILED: Meaning("The model did not produce a usable picture.", False),
    FailureCode.INVALID_PARAMS: Meaning("{field}: {problem}; legal: {legal}.", False),
    FailureCode.STEP_TIMEOUT: Meaning("A step took longer than {timeout_s:g} s.", True),
    FailureCode.INTERNAL_ERROR: Meaning("Something went wrong on our side.", True),
}
