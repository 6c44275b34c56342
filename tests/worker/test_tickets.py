"""RQ jobs are tickets, whatever they name."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from redis import Redis
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from panoweave.core.infra.stop_event import StopEvent
from panoweave.core.jobs.queue import TICKET, Queue
from panoweave.worker.rq_worker import PanoramaWorker


@pytest.fixture
def queue(redis: Redis) -> Iterator[Queue]:
    """RQ's loop replaces this process's signal handlers; they are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Queue(redis)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def work(queue: Queue, redis: Redis, tickets: int, fail: bool = False) -> int:
    """Run a worker until so many tickets have been used; how many were."""
    stopping, used = StopEvent(), 0

    def run_ticket() -> None:
        nonlocal used
        used += 1
        if used == tickets:
            stopping.set()
        if fail:
            raise RuntimeError

    watchdog = threading.Timer(30, stopping.set)
    watchdog.start()
    worker = PanoramaWorker(
        queue.tickets("embedded"),
        "worker-1",
        stopping,
        run_ticket,
        connection=redis,
        serializer=JSONSerializer,
    )
    worker.work()
    watchdog.cancel()
    return used


def test_a_ticket_may_name_any_function(queue: Queue, redis: Redis) -> None:
    """That of the version before, or one that is nowhere: none is imported."""
    assert TICKET == "worker.tasks.take_turn"  # workers of version 0.1.0 import it
    queue.add_ticket("embedded")
    for name in ("panoweave.worker.job.take_turn", "no.such.module", "os.abort"):
        queue.tickets("embedded").enqueue_call(name, result_ttl=60)
    tickets = queue.tickets("embedded").jobs
    assert work(queue, redis, 4) == 4
    assert [ticket.get_status() for ticket in tickets] == [JobStatus.FINISHED] * 4


def test_a_ticket_whose_job_raises_is_used_up(queue: Queue, redis: Redis) -> None:
    queue.add_ticket("embedded")
    (ticket,) = queue.tickets("embedded").jobs
    assert work(queue, redis, 1, fail=True) == 1
    assert ticket.get_status() is JobStatus.FAILED
    assert queue.tickets("embedded").count == 0
