"""One attempt at one job: its progress, its heartbeats, and the reasons to stop it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import StaleAttempt
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import Failure, JobRecord, Progress
from panoweave.core.jobs.store import JobStore, Signal
from panoweave.worker.periodic_thread import PeriodicThread
from panoweave.worker.telemetry import metrics

if TYPE_CHECKING:
    from panoweave.core.diffusion.sampling import StepReport  # would import torch

log = logging.getLogger(__name__)

RESUMING, DENOISING, DECODING, UPLOADING = "resuming", "denoising", "decoding", "uploading"

# A worker that is asked to stop finishes a job that needs no more than this, and requeues others.
DRAIN_S = 20.0

_DENOISING_SHARE = 0.95  # of the progress bar; decoding, measuring and uploading share the rest
_PAUSE_S = 2.0  # after a report that failed: waiting for Redis at each would slow the steps
_RECENT_STEPS = 5
_EXIT_HUNG = 70


class Stop(BaseException):
    """Ends the attempt at its next batch. Not an Exception, so that error handlers let it pass.

    Stop
    ├── Cancelled    the caller cancelled the job
    ├── Preempted    this worker was asked to stop
    ├── Superseded   the job does not belong to this attempt any more
    └── TimedOut     its attempts have taken as long as they may together
    """


class Cancelled(Stop):
    pass


class Preempted(Stop):
    pass


class Superseded(Stop):
    pass


class TimedOut(Stop):
    pass


class Attempt:
    """Reports steps, sends heartbeats, and raises a `Stop` at the batch that should be the last.

    While Redis is away the work goes on, and reports are dropped.
    """

    def __init__(
        self,
        record: JobRecord,
        store: JobStore,
        settings: Settings,
        stopping: threading.Event,
        slowest_batch_s: float | None = None,
    ) -> None:
        """`slowest_batch_s`: what a batch of this job is expected to take, if that is known."""
        assert record.token is not None  # JobStore.claim gives every attempt one
        self.record = record
        self.token = record.token
        self._store = store
        self._settings = settings
        self._stopping = stopping
        self._stop: type[Stop] | None = None
        self._paused_until = 0.0
        self._slowest_batch_s = slowest_batch_s
        self._alive_at = time.monotonic()
        used_s = (record.run_ms - record.run_ms_at_retry) / 1_000
        self._ends_at = self._alive_at + settings.job_timeout_s - used_s
        self._began_at = self._alive_at
        self._step_times: deque[float] = deque([self._alive_at], maxlen=_RECENT_STEPS + 1)
        self._eta_s: float | None = record.estimate_s
        self._is_sampling = True  # until the last step
        self.has_preview = False
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        # A connection of its own: the worker's may be waiting for something else.
        redis = self._resources.enter_context(connect(self._settings))
        store, queue = JobStore(redis, self._settings), Queue(redis)

        def beat() -> None:
            self._send(lambda: store.heartbeat(self.record.id, self.token))
            self._exit_if_hung(store, queue)

        interval_s = min(self._settings.heartbeat_s, self._settings.step_timeout_s / 2)
        thread = PeriodicThread(f"heartbeat {self.record.id}", interval_s, beat)
        self._resources.enter_context(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    def resume(self, step: int) -> None:
        """Report that an earlier attempt has done these steps."""
        log.info("%s: resumed after step %d", self.record.id, step)
        self._report(RESUMING, step, self.record.params.total_steps)

    def on_step(self, report: StepReport) -> None:
        """After each reverse step; raises the reason to stop, if there is one."""
        now = self.mark_alive()
        if report.step > 1:  # the time before the first step includes loading and encoding
            metrics.step_ended(now - self._step_times[-1])
        self._step_times.append(now)
        per_step = (now - self._step_times[0]) / (len(self._step_times) - 1)
        left = report.total_steps - report.step
        self._eta_s = per_step * left
        self._is_sampling = left > 0
        self._report(DENOISING if left else DECODING, report.step, report.total_steps)
        self.check()

    def enter(self, phase: str) -> None:
        """Begin a phase without steps. Raises as `on_step` does."""
        self.mark_alive()
        steps = self.record.params.total_steps
        self._eta_s = None
        self._is_sampling = False
        self._report(phase, steps, steps)
        self.check()

    def check(self) -> None:
        """Before each batch of windows, and wherever the attempt may stop.

        Tells the watchdog that the attempt is not hung. Raises the reason to stop, if there is one.
        """
        now = self.mark_alive()
        if self._stop:
            raise self._stop
        if now > self._ends_at:
            raise TimedOut
        if self._stopping.is_set() and not self._is_nearly_done():
            raise Preempted

    def _is_nearly_done(self) -> bool:
        if self._eta_s is None:
            return not self._is_sampling  # decoding and uploading are short
        return self._eta_s <= DRAIN_S

    def ran_s(self) -> float:
        """How long all attempts have taken."""
        return self.record.run_ms / 1_000 + time.monotonic() - self._began_at

    def mark_alive(self) -> float:
        """Tell the watchdog that the attempt is not hung. Returns the time."""
        self._alive_at = time.monotonic()
        return self._alive_at

    def _report(self, phase: str, step: int, total_steps: int) -> None:
        if time.monotonic() < self._paused_until:
            return
        fraction = _DENOISING_SHARE * step / total_steps
        if phase == UPLOADING:
            fraction = (1 + _DENOISING_SHARE) / 2
        progress = Progress(
            phase=phase,
            step=step,
            total_steps=total_steps,
            fraction=fraction,
            eta_s=self._eta_s,
            has_preview=self.has_preview,
        )
        self._send(lambda: self._store.report(self.record.id, self.token, progress))

    def _send(self, report: Callable[[], Signal]) -> None:
        """Send a report or a heartbeat; what Redis answers may be a reason to stop."""
        try:
            if report().cancel_requested:
                self._stop = Cancelled
        except StaleAttempt:
            self._stop = Superseded
        except StoreUnavailable:
            self._paused_until = time.monotonic() + _PAUSE_S
            log.warning("%s: Redis is away; the work goes on", self.record.id)

    def _exit_if_hung(self, store: JobStore, queue: Queue) -> None:
        """End this process if its batch hangs: nothing else can stop it. A supervisor starts a
        fresh one. Another attempt follows, unless this batch is expected to take that long."""
        limit_s = self._settings.step_timeout_s
        if time.monotonic() - self._alive_at < limit_s:
            return
        log.critical("%s: no batch for %g s; this process ends", self.record.id, limit_s)
        try:
            failure = Failure.of(FailureCode.STEP_TIMEOUT, timeout_s=limit_s)
            if self._slowest_batch_s and self._slowest_batch_s > limit_s / 2:
                failure = failure.model_copy(update={"retryable": False})
                store.fail(self.record.id, self.token, failure)
            else:
                store.hung(self.record.id, self.token, failure)
            queue.top_up()
        finally:
            os._exit(_EXIT_HUNG)
