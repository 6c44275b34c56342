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


class PanoramaWorker(SimpleWorker):
    """Runs jobs in this process, so that the model stays warm."""

    # RQ would wait up to a minute before it tries a Redis that is back.
    max_connection_wait_time = 2.0

    def __init__(self, queue: Queue, name: str, stopping: threading.Event, **options: Any) -> None:
        super().__init__([queue], name=name, **options)
        self._stopping = stopping

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
