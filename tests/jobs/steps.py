"""What happens to jobs in tests of the queue: they are posted, claimed and finished."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState, WorkerState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import new_record, result_of


def post(
    store: JobStore,
    tenant: str = "default",
    estimate_s: float | None = None,
    model: str = "embedded",
) -> JobRecord:
    time.sleep(0.001)  # ids of one millisecond have no order
    changes = {"estimate_s": estimate_s, "model": model}
    return store.create(new_record(tenant=tenant).model_copy(update=changes))


def publish_worker(redis: Redis, name: str, model: str, state: WorkerState = "ready") -> None:
    models.publish(
        redis, ModelState(model=model, state=state, perceptual="stlpips-alex", worker=name)
    )


def place(queue: Queue, record: JobRecord) -> int:
    return queue.estimate([record]).places[record.id]


def claim(store: JobStore, model: str = "embedded") -> JobRecord:
    record = store.claim("worker-1", model)
    assert record is not None
    return record


def succeed(store: JobStore, record: JobRecord) -> None:
    assert record.token is not None
    store.succeed(record.id, record.token, result_of(record))


def approx(etas_s: Any, begun: float) -> Any:
    """What was left when the job in hand began, at `begun` or later; since then it became less."""
    return pytest.approx(etas_s, abs=time.monotonic() - begun + 0.05)
