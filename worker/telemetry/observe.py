"""What is to be seen of an attempt from outside: log lines by its ids, a span, how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars

from panoweave.core.jobs.record import JobRecord, Status
from panoweave.worker.telemetry import metrics, tracing


class Ending:
    """Filled in by whoever is observed."""

    status: Status | None = None


@contextmanager
def observed(record: JobRecord) -> Iterator[Ending]:
    names = {"job_id": record.id, "tenant": record.tenant}
    if record.trace:
        names["request_id"] = record.trace.request_id
    ending, began = Ending(), time.monotonic()
    metrics.attempt_began(record)
    with bound_contextvars(**names), tracing.panorama_span(record):
        try:
            yield ending
        finally:
            metrics.attempt_ended(record, ending.status, time.monotonic() - began)
