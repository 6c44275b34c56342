"""The process that finds lost jobs again, also when no GPU worker lives."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from structlog.contextvars import bound_contextvars

from core.jobs.connection import connect
from core.jobs.failures import NotFound, StoreUnavailable
from core.jobs.queue import Queue
from core.jobs.record import Status
from core.jobs.settings import Settings
from core.jobs.store import JobStore
from worker import metrics
from worker.probes import Standing, probes

log = logging.getLogger(__name__)

# Longer than any job is between two places: from record to queue, from queue to its start.
UNQUEUED_FOR_S = 10.0


def run_janitor(settings: Settings) -> int:
    """Sweep until SIGTERM or SIGINT. Several may run: every sweep's moves are compare-and-set."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    standing = Standing("loading")
    with connect(settings) as redis, probes(settings, metrics.JANITOR, lambda: standing):
        store, queue = JobStore(redis, settings), Queue(redis)
        pause_s = settings.janitor_interval_s
        while not stopping.wait(pause_s):
            try:
                sweep(store, queue)
                standing = Standing("ready")
                pause_s = settings.janitor_interval_s
            except StoreUnavailable:
                log.warning("Redis is away")
                standing = Standing("failed", "Redis is away")
                # Leases ran out while nobody could renew them: let the living beat first.
                pause_s = settings.lease_s
    return 0


def sweep(store: JobStore, queue: Queue) -> None:
    """Requeue (or fail) jobs whose worker fell silent, and queue again what no queue holds.

    One job that cannot be handled does not keep the others waiting.
    """
    for lost in store.lost():
        with _one_job(lost.id):
            record = store.expire_lost(lost)
            log.warning("%s: its worker fell silent; now %s", record.id, record.status)
            metrics.job_lost(record.status)
            if record.status is Status.QUEUED:
                queue.enqueue(record)
                metrics.job_requeued()
    for job_id in queue.orphaned_queued(UNQUEUED_FOR_S):
        with _one_job(job_id):
            record = store.get(job_id)
            if record.status is Status.QUEUED:
                log.warning("%s: queued, but in no queue; queued again", record.id)
                queue.enqueue(record)
                metrics.job_requeued()
    metrics.swept()


@contextmanager
def _one_job(job_id: str) -> Iterator[None]:
    with bound_contextvars(job_id=job_id):
        try:
            yield
        except StoreUnavailable:
            raise
        except NotFound:
            log.info("%s: gone meanwhile", job_id)
        except Exception:
            log.exception("%s: left for the next sweep", job_id)
