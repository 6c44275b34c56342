"""The public failure codes: what a client reads in `error.code` of a failed job.

A code is stable and documented. Its wording never holds a traceback or an error's own text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class FailureCode(StrEnum):
    WORKER_LOST = "worker_lost"
    OUT_OF_MEMORY = "out_of_memory"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    GENERATION_FAILED = "generation_failed"
    INVALID_PARAMS = "invalid_params"
    STEP_TIMEOUT = "step_timeout"
    JOB_TIMEOUT = "job_timeout"
    INTERNAL_ERROR = "internal_error"


PREEMPTED: Final = "preempted"  # why an attempt was requeued, though nothing failed


class Meaning(NamedTuple):
    detail: str  # a str.format template
    retryable: bool  # whether the same request may succeed later


MEANINGS: dict[FailureCode, Meaning] = {
    FailureCode.WORKER_LOST: Meaning("The worker was lost in each of {attempts} attempts.", True),
    FailureCode.OUT_OF_MEMORY: Meaning(
        "The GPU ran out of memory, with the smallest window batch too.", False
    ),
    FailureCode.STORAGE_UNAVAILABLE: Meaning("The panorama could not be stored.", True),
    FailureCode.GENERATION_FAILED: Meaning("The model did not produce a usable picture.", False),
    FailureCode.INVALID_PARAMS: Meaning("{field}: {problem}; legal: {legal}.", False),
    FailureCode.STEP_TIMEOUT: Meaning("A batch of windows took longer than {timeout_s:g} s.", True),
    FailureCode.JOB_TIMEOUT: Meaning("It took longer than the {timeout_s:g} s that it may.", False),
    FailureCode.INTERNAL_ERROR: Meaning("Something went wrong on our side.", True),
}
