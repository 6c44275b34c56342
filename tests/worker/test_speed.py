"""What a worker measures of its speed: what is warm, as the next job will be."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from redis import Redis

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.warm_up import warm_up_request
from panoweave.core.estimate import SpeedMeter, StepWork, step_work
from panoweave.core.params import PanoramaParams, ResolvedParams
from panoweave.worker.job import WorkerContext
from panoweave.worker.main import warm_up
from panoweave.worker.speed import SpeedReporter, StepClock

# Called with each step that is measured.
OnMeasured = Callable[[Callable[[StepWork], None]], None]


@pytest.fixture
def on_measured(monkeypatch: pytest.MonkeyPatch) -> OnMeasured:
    def listen(listener: Callable[[StepWork], None]) -> None:
        note_step = SpeedMeter.note_step

        def note(self: SpeedMeter, work: StepWork, kind: Any, seconds: float) -> None:
            listener(work)
            note_step(self, work, kind, seconds)

        monkeypatch.setattr(SpeedMeter, "note_step", note)

    return listen


def test_the_warm_up_measures_what_it_has_done_before(
    context: WorkerContext, on_measured: OnMeasured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of steps, each in a second call with batches of the same sizes."""
    pipeline = context.generator.pipeline
    steps: list[list[int]] = [[]]  # the batches of each, under one or both texts
    hook = pipeline.unet.conv_out.register_forward_hook(
        lambda _layer, _in, out: steps[-1].append(len(out))
    )
    measured: list[tuple[int, StepWork]] = []
    on_measured(lambda work: measured.append((len(steps) - 1, work)))
    step_ended = StepClock.step_ended

    def end(self: StepClock, step: int) -> None:
        step_ended(self, step)
        steps.append([])

    monkeypatch.setattr(StepClock, "step_ended", end)
    warm_up(context.generator, context.speed)
    hook.remove()
    assert {bool(work.gradients) for _, work in measured} == {True, False}
    assert all(steps[number] in steps[:number] for number, _ in measured)
    # A batch with a gradient is not much smaller than a job's: each window would take longer.
    job = step_work(0, PanoramaParams(prompt="x").resolve(pipeline.traits), pipeline.traits)
    assert max(work.gradients for _, work in measured) > job.windows / 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_warm_up_has_two_steps_of_each_kind(
    pipeline: SyncDiffusionPipeline, redis: Redis, on_measured: OnMeasured, device: str
) -> None:
    stand_in: Any = SimpleNamespace(device=torch.device(device), traits=pipeline.traits)
    params = warm_up_request(stand_in).resolve(pipeline.traits)
    measured: list[StepWork] = []
    on_measured(measured.append)
    end_steps(SpeedReporter(redis, "sea"), params, pipeline)
    assert {bool(work.gradients) for work in measured} == {True, False}


def test_the_first_step_of_a_kind_is_not_measured(
    pipeline: SyncDiffusionPipeline, redis: Redis, on_measured: OnMeasured
) -> None:
    """In a process, not in each panorama. A panorama's first step includes loading."""
    asked = PanoramaParams.model_validate(
        {"prompt": "x", "width": 128, "stride": 32, "steps": 6, "sync": {"steps": 3}}
    )
    params = asked.resolve(pipeline.traits)
    measured: list[StepWork] = []
    on_measured(measured.append)
    reporter = SpeedReporter(redis, "sea")
    kinds = []
    for _ in range(2):
        end_steps(reporter, params, pipeline)
        kinds.append([bool(work.gradients) for work in measured])
        measured.clear()
    assert kinds == [[True, True, False, False], [True, True, False, False, False]]


def test_a_gradient_through_the_network_is_a_kind_of_its_own(
    pipeline: SyncDiffusionPipeline, redis: Redis, on_measured: OnMeasured
) -> None:
    """It keeps more, and its kernels are others."""
    measured: list[StepWork] = []
    on_measured(measured.append)
    reporter = SpeedReporter(redis, "sea")
    counts = []
    for gradient in ("gaussian", "conditional", "conditional"):
        asked = {
            "prompt": "x",
            "width": 128,
            "steps": 3,
            "sync": {"steps": 3, "gradient": gradient},
        }
        params = PanoramaParams.model_validate({**asked, "windows": "overlapping", "stride": 32})
        end_steps(reporter, params.resolve(pipeline.traits), pipeline)
        counts.append(len(measured))
        measured.clear()
    assert counts == [2, 2, 2]
    kinds = reporter.meter.speeds.model_dump(exclude_none=True).keys()
    assert kinds == {"gradient_gaussian_full_s", "gradient_full_s"}


def end_steps(
    reporter: SpeedReporter, params: ResolvedParams, pipeline: SyncDiffusionPipeline
) -> None:
    clock = StepClock(reporter, params, pipeline.traits)
    for step in range(1, params.total_steps + 1):
        clock.step_ended(step)
