"""What a worker does with a client's panoramas."""

from __future__ import annotations

import threading
from collections.abc import Callable

from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import FAILURE, progress
from tests.processes import wait_until
from tests.service.steps import start


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def when_submitted(store: JobStore, then: Callable[[str], object]) -> threading.Thread:
    """With the first panorama that is submitted."""

    def work() -> None:
        wait_until(lambda: bool(store.list("default").records), 30)
        then(store.list("default").records[0].id)

    return in_background(work)


def with_events(store: JobStore, job_id: str) -> str:
    """It goes through several steps and fails. Returns the id."""
    _, token = start(store, job_id)
    for step in (1, 2, 3):
        store.report(job_id, token, progress(step))
    store.fail(job_id, token, FAILURE)
    return job_id
