"""The process that finds lost jobs again, also when no GPU worker lives, and delivers webhooks."""

from __future__ import annotations

import logging
import signal
import threading
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
from panoweave.worker.health import Condition, probes
from panoweave.worker.telemetry import metrics
from panoweave.worker.webhook_sender import Courier

log = logging.getLogger(__name__)

_SLOW_BEAT_S = 5.0  # a beat takes this where Redis is slow to come back


def run_janitor(settings: Settings) -> int:
    """Sweep until SIGTERM or SIGINT. Several may run: every sweep's moves are compare-and-set."""
    stopping = StopEvent()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    condition = Condition("loading")

    def tell(told: Condition) -> None:
        nonlocal condition
        condition = told

    with (
        connect(settings) as redis,
        closing(ObjectStore(settings)) as objects,
        probes(settings, metrics.JANITOR, lambda: condition),
        delivering(settings, objects, stopping),
        tidying(settings, objects, stopping),
    ):
        watch(JobStore(redis, settings), Queue(redis), settings, stopping, tell)
    return 0


def watch(
    store: JobStore,
    queue: Queue,
    settings: Settings,
    stopping: threading.Event,
    tell: Callable[[Condition], None],
) -> None:
    """Sweep until asked to stop.

    Leases run out too while nobody can renew them: whenever Redis is there, or takes something in,
    for the first time, the living have time to beat before anybody is taken for lost.
    """
    settle_s = min(settings.lease_s, settings.heartbeat_s + _SLOW_BEAT_S)
    is_settled, was_there, pause_s = False, True, settings.janitor_interval_s
    while not stopping.wait(pause_s):
        try:
            if is_settled:
                sweep(store, queue)
                pause_s = settings.janitor_interval_s
            else:
                store.check()
                is_settled, pause_s = True, settle_s
            was_there = True
            tell(Condition("ready"))
        except StoreUnavailable:
            if was_there:
                log.warning("Redis is away")
            tell(Condition("failed", "Redis is away"))
            is_settled, was_there, pause_s = False, False, settings.janitor_interval_s


@contextmanager
def tidying(settings: Settings, objects: ObjectStore, stopping: threading.Event) -> Iterator[None]:
    """Objects are removed while the block runs, from a thread of its own.

    An S3 that does not answer holds up no sweep, and nobody who asks this process to leave.
    """

    def run() -> None:
        with connect(settings) as redis:
            while not stopping.wait(settings.janitor_interval_s):
                try:
                    if removed := remove_orphans(redis, objects):
                        log.info("removed %d objects that no record names", removed)
                except StoreUnavailable:
                    pass  # `watch` says so
                except ObjectStoreError as error:
                    log.warning("not tidied: %s", error)
                except Exception:
                    log.exception("not tidied")

    threading.Thread(target=run, name="orphan cleanup", daemon=True).start()
    yield


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
