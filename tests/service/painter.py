"""A worker's part in a test whose client waits: panoramas are made as soon as they are queued."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import progress, result_of
from tests.processes import wait_until
from tests.service import steps

PREVIEW_STEPS = (10, 20, 30, 40)  # of 50


@contextmanager
def painting(
    store: JobStore,
    objects: ObjectStore,
    paint: Callable[[JobRecord], object] | None = None,
    *,
    tenant: str = "ada",
) -> Iterator[None]:
    """`paint` ends the job that is queued next. The default makes a picture."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.wait(0.02):
            for job in reversed(store.list(tenant, None, 100).records):
                if job.status == "queued":
                    paint(job) if paint else steps.finish(store, objects, job.id)

    painter = threading.Thread(target=run)
    painter.start()
    try:
        yield
    finally:
        stopping.set()
        painter.join()


def paint_in_steps(store: JobStore, objects: ObjectStore, job: JobRecord, looks: list[int]) -> None:
    """With a preview at each of `PREVIEW_STEPS`, which a stream then looks at."""
    record, token = steps.start(store, job.id)
    for step in PREVIEW_STEPS:
        shown = b"preview %d" % step
        objects.put(record.keys.foreseen, shown, "image/jpeg", _hashed(shown))
        store.report(job.id, token, progress(step).model_copy(update={"has_preview": True}))
        wait_until(lambda: step in looks, 30)  # noqa: B023
    objects.put(record.keys.image, steps.PICTURE, "image/png", _hashed(steps.PICTURE))
    made = {"sha256": _hashed(steps.PICTURE), "bytes": len(steps.PICTURE)}
    store.succeed(job.id, token, result_of(record).model_copy(update=made))


def _hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
