"""The process that finds lost jobs again, also when no GPU worker lives, and delivers webhooks."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType

from redis import Redis
from structlog.contextvars import bound_contextvars

from core.jobs.connection import connect
from core.jobs.failures import NotFound, ObjectStoreError, StoreUnavailable
from core.jobs.objects import ObjectStore
from core.jobs.queue import Queue
from core.jobs.settings import Settings
from core.jobs.store import JobStore
from core.jobs.tidiness import tidy
from worker import metrics
from worker.probes import Condition, probes
from worker.webhooks import Courier

log = logging.getLogger(__name__)


def run_janitor(settings: Settings) -> int:
    """Sweep until SIGTERM or SIGINT. Several may run: every sweep's moves are compare-and-set."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    condition = Condition("loading")
    with (
        connect(settings) as redis,
        closing(ObjectStore(settings)) as objects,
        probes(settings, metrics.JANITOR, lambda: condition),
        delivering(settings, objects, stopping),
    ):
        store, queue = JobStore(redis, settings), Queue(redis)
        pause_s = settings.janitor_interval_s
        while not stopping.wait(pause_s):
            try:
                sweep(store, queue)
                _tidy(redis, store, objects)
                condition = Condition("ready")
                pause_s = settings.janitor_interval_s
            except StoreUnavailable:
                log.warning("Redis is away")
                condition = Condition("failed", "Redis is away")
                # Leases ran out while nobody could renew them: let the living beat first.
                pause_s = settings.lease_s
    return 0


def _tidy(redis: Redis, store: JobStore, objects: ObjectStore) -> None:
    try:
        if removed := tidy(redis, store, objects):
            log.info("removed %d objects of attempts that did not end their panorama", removed)
    except ObjectStoreError as error:
        log.warning("not tidied: %s", error)


@contextmanager
def delivering(
    settings: Settings, objects: ObjectStore, stopping: threading.Event
) -> Iterator[None]:
    """Webhooks are delivered while the block runs, from threads of their own."""
    with connect(settings) as redis:
        courier = Courier(redis, objects, settings)
        thread = threading.Thread(target=courier.run, args=(stopping,), name="courier")
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()


def sweep(store: JobStore, queue: Queue) -> None:
    """Requeue (or fail) jobs whose worker fell silent, and see that turns wait for those that wait.

    One job that cannot be handled does not keep the others waiting.
    """
    for lost in store.lost():
        with _one_job(lost.id):
            record = store.expire_lost(lost)
            log.warning("%s: its worker fell silent; now %s", record.id, record.status)
            metrics.job_lost(record.status)
    queue.top_up()
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
