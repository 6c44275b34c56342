"""RQ's in-process worker, with the life signs that RQ gives only to its forking one."""

from __future__ import annotations

import threading
from types import FrameType
from typing import Any

from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.worker.base import WorkerStatus

from panoweave.worker.pulse import Pulse

_DEQUEUE_S = 2


class PanoramaWorker(SimpleWorker):
    """Runs jobs in this process, so that the model stays warm."""

    # RQ would wait up to a minute before it tries a Redis that is back.
    max_connection_wait_time = 2.0

    def __init__(self, queue: Queue, name: str, stopping: threading.Event, **options: Any) -> None:
        super().__init__([queue], name=name, **options)
        self._stopping = stopping

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
        """Wait for a job or for SIGTERM.

        `request_stop` raises where it interrupts this thread, and code that catches every
        exception (a logging handler, say) may swallow that: so the event is looked at too.
        """
        while not self._stopping.is_set():
            if found := super().dequeue_job_and_maintain_ttl(timeout, max_idle_time=timeout):
                return found
        raise StopRequested

    def execute_job(self, job: Job, queue: Queue) -> None:
        execution = self.prepare_execution(job)
        # Without a beat RQ takes a long job for abandoned.
        with Pulse(
            "rq heartbeat",
            self.job_monitoring_interval,
            lambda: self.maintain_heartbeats(job, execution),
        ):
            self.perform_job(job, queue, execution)
        self.set_state(WorkerStatus.IDLE)

    def request_stop(self, _signum: int, _frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: no further job; the attempt in hand looks at the event.

        In RQ's place, whose handler writes to Redis: it runs inside whatever step is in hand, and
        a Redis that is away would fail the job there. SIGKILL is for who cannot wait.
        """
        self._stopping.set()
        if self.get_state() == WorkerStatus.BUSY:
            self._stop_requested = True
        else:
            raise StopRequested
