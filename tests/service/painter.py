"""A worker's part in a test whose client waits: panoramas are made as soon as they are queued."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from tests.service.steps import finish


@contextmanager
def painting(
    store: JobStore, objects: ObjectStore, paint: Callable[[JobRecord], object] | None = None
) -> Iterator[None]:
    """`paint` ends the job that is queued next. The default makes a picture."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.wait(0.02):
            for job in reversed(store.list("ada", None, 100).records):
                if job.status == "queued":
                    paint(job) if paint else finish(store, objects, job.id)

    painter = threading.Thread(target=run)
    painter.start()
    try:
        yield
    finally:
        stopping.set()
        painter.join()
