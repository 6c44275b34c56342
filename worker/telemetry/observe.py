"""Observes one attempt: its ids in log lines, a span, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars

from panoweave.core.jobs.record import JobRecord, Status
from panoweave.worker.telemetry import metrics, tracing


class Ending:
    """Set by the code that is observed."""

    status: Status | None = None


@contextmanager
def observe_attempt(record: JobRecord) -> Iterator[Ending]:
    names = {"job_id": record.id, "tenant": record.tenant}
    if record.trace:
        names["request_id"] = record.trace.request_id
    ending, began = Ending(), time.monotonic()
    with bound_contextvars(**names), tracing.panorama_span(record):
        metrics.attempt_began(record)
        try:
            yield ending
        finally:
            metrics.attempt_ended(record, ending.status, time.monotonic() - began)
