"""The process that requeues lost jobs, delivers webhooks and deletes orphaned objects.

It does so even when no GPU worker lives.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType

from structlog.contextvars import bound_contextvars

from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.stop_event import StopEvent
from panoweave.core.jobs.errors import NotFound
from panoweave.core.jobs.orphan_cleanup import remove_orphans
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.worker.health import Health, serve_health
from panoweave.worker.telemetry import metrics
from panoweave.worker.webhook_sender import WebhookDispatcher

log = logging.getLogger(__name__)

_COMPARE_EVERY_S = 60.0  # the queues by model, job by job: 0.4 s of Redis for 100,000 jobs
_SLOW_HEARTBEAT_S = 5.0  # how long a heartbeat takes while Redis is slow to come back


def run_janitor(settings: Settings) -> int:
    """Sweep until SIGTERM or SIGINT. Several may run: every sweep's moves are compare-and-set."""
    stopping = StopEvent()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    health = Health("loading")

    def set_health(current: Health) -> None:
        nonlocal health
        health = current

    with (
        connect(settings) as redis,
        closing(ObjectStore(settings)) as objects,
        serve_health(settings, metrics.JANITOR, lambda: health),
        dispatching_webhooks(settings, objects, stopping),
        cleaning_orphans(settings, objects, stopping),
    ):
        sweep_until(stopping, JobStore(redis, settings), Queue(redis), settings, set_health)
    return 0


def sweep_until(
    stopping: threading.Event,
    store: JobStore,
    queue: Queue,
    settings: Settings,
    set_health: Callable[[Health], None],
) -> None:
    """Sweep until asked to stop.

    While Redis is away no worker can renew its lease, and leases expire. So when Redis is reached
    or accepts writes again, and when a janitor starts, the first sweep waits until every living
    worker has had time for a heartbeat.
    """
    settle_s = min(settings.lease_s, settings.heartbeat_s + _SLOW_HEARTBEAT_S)
    is_settled, was_there, pause_s = False, True, settings.janitor_interval_s
    compare_at = time.monotonic()
    while not stopping.wait(pause_s):
        try:
            if is_settled:
                sweep(store, queue)  # first: lost jobs wait for no comparison
                if time.monotonic() >= compare_at:
                    queue.compare()
                    compare_at = time.monotonic() + _COMPARE_EVERY_S
                pause_s = settings.janitor_interval_s
            else:
                store.check()
                is_settled, pause_s = True, settle_s
            was_there = True
            set_health(Health("ready"))
        except StoreUnavailable:
            if was_there:
                log.warning("Redis is away")
            set_health(Health("failed", "Redis is away"))
            is_settled, was_there, pause_s = False, False, settings.janitor_interval_s


@contextmanager
def cleaning_orphans(
    settings: Settings, objects: ObjectStore, stopping: threading.Event
) -> Iterator[None]:
    """Orphaned objects are deleted while the block runs, from a thread of its own.

    An S3 that does not answer then delays no sweep and no exit.
    """

    def run() -> None:
        with connect(settings) as redis:
            while not stopping.wait(settings.janitor_interval_s):
                try:
                    if removed := remove_orphans(redis, objects):
                        log.info("removed %d objects that no record names", removed)
                except StoreUnavailable:
                    pass  # `sweep_until` logs it
                except ObjectStoreError as error:
                    log.warning("orphaned objects were not removed: %s", error)
                except Exception:
                    log.exception("orphaned objects were not removed")

    threading.Thread(target=run, name="orphan cleanup", daemon=True).start()
    yield


@contextmanager
def dispatching_webhooks(
    settings: Settings, objects: ObjectStore, stopping: threading.Event
) -> Iterator[None]:
    """Webhooks are delivered while the block runs, from threads of their own."""
    with connect(settings) as redis:
        dispatcher = WebhookDispatcher(redis, objects, settings)
        thread = threading.Thread(target=dispatcher.run, args=(stopping,), name="webhooks")
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()


def sweep(store: JobStore, queue: Queue) -> None:
    """Requeue (or fail) jobs whose lease has expired, expire those that should have begun, and
    add tickets for jobs that wait.

    A job that cannot be handled does not stop the sweep.
    """
    for lost in store.lost():
        with _logged(lost.id):
            record = store.expire_lost(lost)
            log.warning("%s: its worker was lost; now %s", record.id, record.status)
            metrics.job_lost(record.status)
    for job_id in store.overdue():
        with _logged(job_id):
            record = store.miss_start(job_id)
            log.info("%s: had not begun by its deadline; now %s", record.id, record.status)
    queue.top_up()
    metrics.swept()


@contextmanager
def _logged(job_id: str) -> Iterator[None]:
    with bound_contextvars(job_id=job_id):
        try:
            yield
        except StoreUnavailable:
            raise
        except NotFound:
            log.info("%s: deleted meanwhile", job_id)
        except Exception:
            log.exception("%s: left for the next sweep", job_id)
