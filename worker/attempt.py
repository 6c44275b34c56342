"""One attempt at one job, as the world sees it: progress, lease, and the reasons to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import StaleAttempt
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import Failure, JobRecord, Progress
from panoweave.core.jobs.store import JobStore, Signal
from panoweave.worker.pulse import Pulse
from panoweave.worker.telemetry import metrics

log = logging.getLogger(__name__)

RESUMING, DENOISING, DECODING, UPLOADING = "resuming", "denoising", "decoding", "uploading"

# A worker that is asked to leave ends a job that needs no more than this, and gives back others.
DRAIN_S = 20.0

_DENOISING_SHARE = 0.95  # of the progress bar; decoding, measuring and uploading share the rest
_QUIET_S = 2.0  # after a report that Redis did not take: waiting for each would slow the steps
_RECENT_STEPS = 5
_EXIT_HUNG = 70


class Stop(BaseException):
    """Ends the attempt at its next step. No error, so handlers of errors let it pass.

    Stop
    |-- Cancelled    the caller cancelled the job
    |-- Preempted    this worker was asked to leave
    `-- Superseded   the job is no longer this attempt's
    """


class Cancelled(Stop):
    pass


class Preempted(Stop):
    pass


class Superseded(Stop):
    pass


class Attempt:
    """Reports steps, beats between them, and raises a `Stop` at the step that should be the last.

    A Redis that is away stops no work: reports are dropped until it is back.
    """

    def __init__(
        self, record: JobRecord, store: JobStore, settings: Settings, stopping: threading.Event
    ) -> None:
        assert record.token is not None  # JobStore.start gives every attempt one
        self.record = record
        self.token = record.token
        self._store = store
        self._settings = settings
        self._stopping = stopping
        self._stop: type[Stop] | None = None
        self._quiet_until = 0.0
        self._last_sign = time.monotonic()
        self._step_times: deque[float] = deque([self._last_sign], maxlen=_RECENT_STEPS + 1)
        self._eta_s: float | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        # A connection of its own: the worker's may be waiting on something else.
        redis = self._resources.enter_context(connect(self._settings))
        store, queue = JobStore(redis, self._settings), Queue(redis)

        def beat() -> None:
            self._heed(lambda: store.heartbeat(self.record.id, self.token))
            self._watch(store, queue)

        interval_s = min(self._settings.heartbeat_s, self._settings.step_timeout_s / 2)
        self._resources.enter_context(Pulse(f"heartbeat {self.record.id}", interval_s, beat))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    def resume(self, step: int) -> None:
        """An earlier attempt has done so many steps; they are not done again."""
        log.info("%s: goes on after step %d", self.record.id, step)
        self._report(RESUMING, step, self.record.params.steps)

    def on_step(self, report: StepReport) -> None:
        """After each reverse step; raises Cancelled, Preempted or Superseded."""
        now = self.sign_of_life()
        if report.step > 1:  # before the first lies what comes before the steps
            metrics.step_ended(now - self._step_times[-1])
        self._step_times.append(now)
        per_step = (now - self._step_times[0]) / (len(self._step_times) - 1)
        left = report.total_steps - report.step
        self._eta_s = per_step * left
        self._report(DENOISING if left else DECODING, report.step, report.total_steps)
        self.check()

    def enter(self, phase: str) -> None:
        """A phase without steps begins; raises as `on_step` does."""
        self.sign_of_life()
        steps = self.record.params.steps
        self._eta_s = None
        self._report(phase, steps, steps)
        self.check()

    def check(self) -> None:
        """Raise the reason to stop, if there is one."""
        self.sign_of_life()
        if self._stop:
            raise self._stop
        nearly_done = self._eta_s is None or self._eta_s <= DRAIN_S
        if self._stopping.is_set() and not nearly_done:
            raise Preempted

    def sign_of_life(self) -> float:
        """Tell the watchdog that something still happens; the time it is."""
        self._last_sign = time.monotonic()
        return self._last_sign

    def _report(self, phase: str, step: int, total_steps: int) -> None:
        if time.monotonic() < self._quiet_until:
            return
        fraction = _DENOISING_SHARE * step / total_steps
        if phase == UPLOADING:
            fraction = (1 + _DENOISING_SHARE) / 2
        progress = Progress(
            phase=phase, step=step, total_steps=total_steps, fraction=fraction, eta_s=self._eta_s
        )
        self._heed(lambda: self._store.report(self.record.id, self.token, progress))

    def _heed(self, tell: Callable[[], Signal]) -> None:
        try:
            if tell().cancel_requested:
                self._stop = Cancelled
        except StaleAttempt:
            self._stop = Superseded
        except StoreUnavailable:
            self._quiet_until = time.monotonic() + _QUIET_S
            log.warning("%s: Redis is away; the work goes on", self.record.id)

    def _watch(self, store: JobStore, queue: Queue) -> None:
        """End a process whose step hangs: nothing else can. A supervisor starts a fresh one."""
        limit_s = self._settings.step_timeout_s
        if time.monotonic() - self._last_sign < limit_s:
            return
        log.critical("%s: no step for %g s; this process ends", self.record.id, limit_s)
        try:
            failure = Failure.of(FailureCode.STEP_TIMEOUT, timeout_s=limit_s)
            store.hung(self.record.id, self.token, failure)
            queue.top_up()
        finally:
            os._exit(_EXIT_HUNG)
