"""Metrics of the worker and the janitor, each in a registry of its own. Imports no torch.

How jobs ended and what went back to the queue is counted in Redis and shown by the API: nobody
could scrape a worker that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from panoweave.core.infra.exemplars import current_exemplar
from panoweave.core.jobs.record import JobRecord, Status

WORKER: Final = CollectorRegistry()
JANITOR: Final = CollectorRegistry()
for _registry in (WORKER, JANITOR):
    ProcessCollector(registry=_registry)

_MINUTES: Final = (60, 120, 300, 600, 1_800, 3_600)

_wait = Histogram(
    "panoweave_wait_seconds",
    "From a panorama's creation to its first start.",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, *_MINUTES),
    registry=WORKER,
)
_run = Histogram(
    "panoweave_run_seconds",
    "How long an attempt took, by how it ended: queued is back to the queue, superseded no longer "
    "this worker's.",
    ["preset", "status"],
    buckets=(0.5, 1, 2, 5, 10, 20, 30, *_MINUTES),
    registry=WORKER,
)
_step = Histogram(
    "panoweave_step_seconds",
    "One reverse step, from the end of the one before.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=WORKER,
)
_upload = Histogram(
    "panoweave_upload_seconds",
    "Encoding and storing a finished panorama, with the waits for a store that was away.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=WORKER,
)
_busy = Gauge("panoweave_worker_busy", "1 during an attempt.", registry=WORKER)

_lost = Counter(
    "panoweave_janitor_lost_jobs",
    "Jobs whose worker fell silent, by what became of them.",
    ["status"],
    registry=JANITOR,
)
_swept_at = Gauge(
    "panoweave_janitor_last_sweep_timestamp_seconds",
    "When the janitor last looked at everything.",
    registry=JANITOR,
)
_webhooks = Counter(
    "panoweave_webhook_attempts", "Attempts to deliver.", ["outcome"], registry=JANITOR
)
_webhook = Histogram(
    "panoweave_webhook_attempt_seconds",
    "How long an attempt to deliver took.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20),
    registry=JANITOR,
)

Outcome = Literal["delivered", "failed", "dead", "gone"]
for _outcome in get_args(Outcome):
    _webhooks.labels(_outcome)  # shown from 0 on: no rate sees a rise from nothing to 1


def attempt_began(record: JobRecord) -> None:
    _busy.set(1)
    if record.attempts == 1 and record.started_at is not None:
        waited_s = (record.started_at - record.created_at).total_seconds()
        _wait.observe(waited_s, current_exemplar())


def attempt_ended(record: JobRecord, status: Status | None, seconds: float) -> None:
    """`status` as committed; None where the job was no longer this attempt's."""
    _busy.set(0)
    run = _run.labels(record.params.preset, status or "superseded")
    run.observe(seconds, current_exemplar())


def step_ended(seconds: float) -> None:
    _step.observe(seconds, current_exemplar())


@contextmanager
def upload() -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        _upload.observe(time.monotonic() - began, current_exemplar())


def job_lost(status: Status) -> None:
    _lost.labels(status).inc()


def swept() -> None:
    _swept_at.set_to_current_time()


def webhook_attempt(outcome: Outcome, seconds: float) -> None:
    """One attempt to deliver one event.

    delivered: the receiver took it (2xx). failed: it did not, and it is tried again later, unless
    it is progress. dead: it did not, and this was the last time. gone: it wants no more (410).
    """
    _webhooks.labels(outcome).inc()
    _webhook.observe(seconds)
