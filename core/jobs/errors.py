"""What can go wrong with a job, as exceptions.

    JobsError
    ├── NotFound              no such job, or another tenant's
    ├── UnreadableRecord      this version cannot read the job's record
    ├── Refused               the record did not allow the move; carries the record
    │   ├── IllegalMove       the job's status does not allow it
    │   └── StaleAttempt      the caller's attempt is over, another may have begun
    ├── QueueFull             the queue is at its limit
    │   ├── TenantQueueFull   the tenant's waiting jobs are at their limit
    │   └── TenantBytesFull   the tenant's records are at their limit of bytes
    ├── TooManyUploads        the tenant's uploads are at their limit
    ├── ModelNotReady         it is not known what the model makes
    │   └── WorkersDiffer     a worker of the model would ignore a part of the request
    ├── OtherRequest          the idempotency key was used with another request
    └── StillInFlight         the first request with the idempotency key has no answer yet

Errors of Redis and S3 are in core/infra/errors.py, public failure codes in failures.py.
"""

from __future__ import annotations

from panoweave.core.jobs.record import JobRecord


class JobsError(Exception):
    """Base of what this package raises on purpose."""


class NotFound(JobsError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class UnreadableRecord(JobsError):
    """A newer version may have stored it."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the record of job {job_id} cannot be read")
        self.job_id = job_id


class Refused(JobsError):
    def __init__(self, move: str, record: JobRecord) -> None:
        super().__init__(f"{move} refused: {record.id} is {record.status}")
        self.move = move
        self.record = record


class IllegalMove(Refused):
    """The job's status allows no such move."""


class StaleAttempt(Refused):
    """The caller's attempt is no longer the current one: it must stop and commit nothing."""


class QueueFull(JobsError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs wait already")
        self.limit = limit


class TenantQueueFull(QueueFull):
    """The tenant's waiting jobs are at their limit."""


class TenantBytesFull(QueueFull):
    """The tenant's records are at their limit of bytes."""


class TooManyUploads(JobsError):
    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(f"the tenant has {limit} uploads already")
        self.limit = limit
        self.retry_after_s = retry_after_s


class ModelNotReady(JobsError):
    def __init__(self, model: str, problem: str = "has not read its files") -> None:
        """`problem`: why this server does not know it from the model's files either."""
        super().__init__(f"no worker has loaded the model {model!r} yet, and this server {problem}")
        self.model = model
        self.problem = problem


class WorkersDiffer(ModelNotReady):
    def __init__(self, model: str, difference: str) -> None:
        """`difference`: what one of the workers is or lacks."""
        JobsError.__init__(self, f"a worker of the model {model!r} {difference}")
        self.model = model
        self.difference = difference


class OtherRequest(JobsError):
    """The idempotency key was used before, with another request."""


class StillInFlight(JobsError):
    """The first request with this idempotency key has not been answered yet."""
