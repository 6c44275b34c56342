"""Schedulers step canvases, and that is what they would have done to windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import Tensor

from panoweave.core.diffusion.errors import UnsupportedSchedulerError
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.schedulers import SCHEDULERS
from panoweave.core.diffusion.views import Canvas, WindowGrid
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PRESETS, PresetName, SchedulerName
from tests.core import tiny

NAMES = get_args(SchedulerName)
CPU = torch.device("cpu")


def native(pipeline: SyncDiffusionPipeline, name: SchedulerName) -> Any:
    """diffusers' own, over the checkpoint's noise schedule."""
    return SCHEDULERS[name].diffusers_class.from_config(pipeline.scheduler.config)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_one_window_is_stable_diffusions_picture(
    tmp_path: Path, name: SchedulerName, prediction_type: str
) -> None:
    pipeline = tiny.pipeline(tmp_path, prediction_type=prediction_type)
    params = PanoramaParams(
        prompt="a lake",
        seed=4,
        width=64,
        steps=5,
        scheduler=name,
        preset="paper",
        sync=SyncParams(weight=0),
    )
    ours = tiny.sample(pipeline, params)

    scheduler = native(pipeline, name)
    reference = StableDiffusionPipeline(
        **{**pipeline.components, "scheduler": scheduler},
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    reference.set_progress_bar_config(disable=True)
    expected = reference(
        prompt="a lake",
        height=64,
        width=64,
        num_inference_steps=5,
        guidance_scale=7.5,
        latents=tiny.draw_noise(pipeline, params),
        generator=torch.Generator().manual_seed(4),
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++"])
def test_merging_first_is_averaging_windows_stepped_one_by_one(
    tmp_path: Path, name: SchedulerName
) -> None:
    """Each window with a scheduler and a memory of its own, over five steps of any predictions."""
    pipeline = tiny.pipeline(tmp_path)
    grid = WindowGrid.overlapping(Canvas(8, 16), window=8, stride=2)
    torch.manual_seed(1)
    canvas = torch.randn(1, 4, 8, 16)
    adapter = SCHEDULERS[name](pipeline.scheduler, 5, 0, CPU)
    own = [native(pipeline, name) for _ in range(len(grid))]
    for scheduler in own:
        scheduler.set_timesteps(5)
    apart = canvas * (1 + float(own[0].sigmas[0]) ** 2) ** 0.5 if name == "euler" else canvas
    for step in adapter.steps:
        predictions = torch.randn(len(grid), 4, 8, 8)
        canvas = adapter.step(canvas, step, grid.merge(predictions))
        stepped = []
        for scheduler, window, prediction in zip(own, grid.read(apart), predictions, strict=True):
            scheduler.scale_model_input(window[None], step.t)
            stepped.append(scheduler.step(prediction[None], step.t, window[None]).prev_sample)
        apart = grid.merge(torch.cat(stepped))
    torch.testing.assert_close(canvas, apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ddim", "euler"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_predicted_original_sample_is_the_schedulers_own(
    tmp_path: Path, name: SchedulerName, prediction_type: str
) -> None:
    pipeline = tiny.pipeline(tmp_path, prediction_type=prediction_type)
    adapter = SCHEDULERS[name](pipeline.scheduler, 4, 0, CPU)
    scheduler = native(pipeline, name)
    scheduler.set_timesteps(4)
    torch.manual_seed(2)
    for step in adapter.steps:
        latents, prediction = torch.randn(2, 1, 4, 8, 8)
        scale = (1 + float(scheduler.sigmas[step.index]) ** 2) ** 0.5 if name == "euler" else 1
        scheduler.scale_model_input(latents, step.t)
        expected = scheduler.step(prediction, step.t, latents * scale).pred_original_sample
        original = adapter.pred_original_sample(latents, step, prediction)
        torch.testing.assert_close(original, expected, rtol=1e-3, atol=1e-3)


def denoised(pipeline: SyncDiffusionPipeline, **asked: Any) -> Tensor:
    params = PanoramaParams(prompt="a lake", seed=4, width=96, steps=3, **asked)
    return tiny.sample(pipeline, params, window_batch=4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_scheduler_synchronises(
    tmp_path: Path, tiny_perceptual: PerceptualLoss, name: SchedulerName, preset: PresetName
) -> None:
    pipeline = tiny.pipeline(tmp_path)
    pipeline.perceptual = tiny_perceptual
    # Two moves in a step suffice here; lcm has eight by default.
    sync = SyncParams(tuned_steps=6) if name == "lcm" else SyncParams()
    pulled = denoised(pipeline, scheduler=name, preset=preset, sync=sync)
    alone = denoised(pipeline, scheduler=name, preset=preset, sync=SyncParams(weight=0))
    assert pulled.isfinite().all()
    assert (pulled - alone).abs().max() > 1e-4
    again = denoised(pipeline, scheduler=name, preset=preset, sync=sync)
    assert torch.equal(pulled, again)  # no state of one panorama gets into the next


def test_a_prediction_type_without_a_noise_schedule_is_refused(tmp_path: Path) -> None:
    parts = tiny.components(tmp_path)
    parts["scheduler"] = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True
    )
    with pytest.raises(UnsupportedSchedulerError, match="flow_prediction"):
        SyncDiffusionPipeline(**parts)
