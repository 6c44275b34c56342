"""SIGTERM ends a process whenever it comes: in the middle of a wait, or before RQ listens."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from panoweave.core.infra.stop_event import StopEvent
from panoweave.core.jobs.queue import Queue
from panoweave.worker.rq_worker import PanoramaWorker

# A timer interrupts the main thread thousands of times, somewhere inside a short wait.
INTERRUPT_MANY_WAITS = """
import signal
from panoweave.core.infra.stop_event import StopEvent

stopping = StopEvent()
signal.signal(signal.SIGALRM, lambda *_: stopping.set())
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
interrupted = 0
while interrupted < 1_000:
    if stopping.wait(0.00001):
        stopping, interrupted = StopEvent(), interrupted + 1
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_in_the_middle_of_a_wait_blocks_nobody() -> None:
    """With `threading.Event` in place of `StopEvent` the process never gets there."""
    program = [sys.executable, "-c", INTERRUPT_MANY_WAITS]
    subprocess.run(program, check=True, timeout=60)


def test_everybody_who_waits_is_woken() -> None:
    stopping, woken = StopEvent(), []
    threads = [threading.Thread(target=lambda: woken.append(stopping.wait(60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not stopping.wait(0.05)
    stopping.set()
    for thread in threads:
        thread.join(30)
    assert woken == [True] * 3
    assert stopping.wait(0)


@pytest.fixture
def worker_of(redis: Redis) -> Iterator[Redis]:
    """RQ's loop replaces this process's signal handlers; they are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield redis
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("asked_after_s", [0, 0.5])
def test_a_stop_that_interrupted_nothing_is_noticed(worker_of: Redis, asked_after_s: float) -> None:
    """It came while RQ was setting up, or its exception was swallowed by what it interrupted."""
    stopping = StopEvent()
    worker = PanoramaWorker(
        Queue(worker_of).tickets("embedded"),
        "worker-1",
        stopping,
        lambda: None,
        connection=worker_of,
        serializer=JSONSerializer,
    )
    threading.Timer(asked_after_s, stopping.set).start()
    if not asked_after_s:
        stopping.set()
    began = time.monotonic()
    worker.work()
    assert time.monotonic() - began < 60  # half a second on an idle machine
    assert worker_of.hexists(worker.key, "death")  # it has signed off
