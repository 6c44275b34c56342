"""RQ's in-process worker: it keeps the model warm, sends heartbeats and takes any ticket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.worker.base import WorkerStatus

from panoweave.worker.periodic_thread import PeriodicThread

_DEQUEUE_S = 2


class Ticket(Job):
    """An RQ job of the queue, whatever function its name stands for.

    RQ would import that function by its dotted name, which is another one in tickets of an earlier
    version. All tickets mean the same: run the next job.
    """

    run: Callable[[], None]

    def perform(self) -> None:
        self.run()


class PanoramaWorker(SimpleWorker):
    """Runs tickets in this process, so that the model stays warm."""

    # RQ would wait up to a minute before it tries a Redis that is back.
    max_connection_wait_time = 2.0
    job_class = Ticket

    def __init__(
        self,
        queue: Queue,
        name: str,
        stopping: threading.Event,
        run_ticket: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__([queue], name=name, **options)
        self._stopping = stopping
        self._run_ticket = run_ticket

    def _install_signal_handlers(self) -> None:
        """A SIGTERM that came before these handlers has set the event and nothing else.

        RQ looks at `_stop_requested` alone: without this the worker would listen for ever.
        """
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        if self._stopping.is_set():
            self._stop_requested = True

    @property
    def dequeue_timeout(self) -> int:
        """RQ would wait for minutes, and as long for a Redis that answers nothing."""
        return _DEQUEUE_S

    def dequeue_job_and_maintain_ttl(
        self,
        timeout: int | None,
        max_idle_time: int | None = None,  # noqa: ARG002 (this worker never leaves for idleness)
    ) -> tuple[Job, Queue] | None:
        """Wait for a ticket or for SIGTERM.

        `request_stop` raises where it interrupts this thread, and code that catches every
        exception (a logging handler, say) may swallow that: so the event is looked at too.
        """
        while not self._stopping.is_set():
            if found := super().dequeue_job_and_maintain_ttl(timeout, max_idle_time=timeout):
                return found
        raise StopRequested

    def execute_job(self, job: Job, queue: Queue) -> None:
        assert isinstance(job, Ticket)
        job.run = self._run_ticket
        execution = self.prepare_execution(job)
        # SimpleWorker sends no heartbeats, and RQ would take a long job for abandoned.
        with PeriodicThread(
            "rq heartbeat",
            self.job_monitoring_interval,
            lambda: self.maintain_heartbeats(job, execution),
        ):
            self.perform_job(job, queue, execution)
        self.set_state(WorkerStatus.IDLE)

    def request_stop(self, _signum: int, _frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: no further ticket; the attempt that runs looks at the event.

        RQ's own handler writes to Redis: it runs inside whatever step is being computed, and a
        Redis that is away would fail the job there. SIGKILL is for who cannot wait.
        """
        self._stopping.set()
        if self.get_state() == WorkerStatus.BUSY:
            self._stop_requested = True
        else:
            raise StopRequested
