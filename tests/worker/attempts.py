"""Attempts at jobs, run here and now, with something that happens at one of their steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.jobs.record import JobRecord
from panoweave.worker.attempt import Attempt
from panoweave.worker.job import WorkerContext, run_attempt
from tests.jobs.samples import start_job

Post = Callable[..., JobRecord]


def run(context: WorkerContext, record: JobRecord) -> JobRecord | None:
    return run_attempt(context, start_job(context.store, record.id, "test-worker"))


def at_step(step: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen in the world right before a step is reported."""
    on_step = Attempt.on_step

    def intercept(self: Attempt, report: StepReport) -> None:
        if report.step == step:
            act()
        on_step(self, report)

    monkeypatch.setattr(Attempt, "on_step", intercept)
