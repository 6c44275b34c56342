"""RQ's in-process worker, with the life signs that RQ gives only to its forking one."""

from __future__ import annotations

import threading
from typing import Any

from rq import SimpleWorker
from rq.job import Job
from rq.queue import Queue
from rq.worker.base import WorkerStatus

from worker.pulse import Pulse


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

    def handle_warm_shutdown_request(self) -> None:
        """SIGTERM or SIGINT: RQ takes no further job; the attempt in hand looks at the event."""
        self._stopping.set()
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
