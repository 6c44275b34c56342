"""The families of flow-matching models: each test runs on a tiny checkpoint of each."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import Gradient
from tests.core import tiny
from tests.core.flow import CASE, Make, diffusers_own, max_difference, params
from tests.core.flow_transcription import FlowAlgorithm1
from tests.core.resuming import check_resumes, picture
from tests.core.tiny_flow import (
    FlowCase,
)


def set_timesteps(theirs: Any, pipeline: SyncDiffusionPipeline, steps: int) -> Any:
    """Their scheduler, with the noise levels that they give one window."""
    side = pipeline.traits.window_px
    theirs("a lake", height=side, width=side, num_inference_steps=steps, output_type="latent")
    return theirs.scheduler


def transcribed(case: FlowCase, pipeline: SyncDiffusionPipeline, asked: PanoramaParams) -> Tensor:
    resolved = asked.resolve(pipeline.traits)
    scale, sync = pipeline.traits.px_per_latent, resolved.sync
    columns = (resolved.width - pipeline.traits.window_px) // resolved.stride + 1
    theirs = case.theirs(pipeline)
    assert pipeline.perceptual
    algorithm = FlowAlgorithm1(
        case.velocity(theirs, resolved.prompt, resolved.negative_prompt, resolved.guidance_scale),
        pipeline.vae,
        set_timesteps(theirs, pipeline, resolved.steps),
        pipeline.perceptual,
    )
    return algorithm.run(
        tiny.draw_noise(pipeline, asked),
        window=pipeline.traits.window_latents,
        stride=resolved.stride // scale,
        anchor=divmod(sync.anchor, columns),
        weight=sync.weight,
        decay=sync.decay,
        sync_steps=sync.steps,
        every=sync.every,
    )


@CASE
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sync": {"every": 2, "anchor": 0}}, id="second step"),
        pytest.param({"height": 80}, id="two rows", marks=pytest.mark.slow),
        pytest.param({"width": 96, "steps": 4}, id="four steps", marks=pytest.mark.slow),
    ],
)
def test_equals_algorithm_1(exact_flow: Make, case: FlowCase, changes: dict[str, Any]) -> None:
    pipeline, asked = exact_flow(case), params(case, **changes)
    made = tiny.sample(pipeline, asked)
    plain = tiny.sample(pipeline, params(case, **{**changes, "sync": {"weight": 0}}))
    expected = transcribed(case, pipeline, asked)
    torch.testing.assert_close(made, expected, rtol=0, atol=case.rounding)
    assert (plain - made).abs().max() > 0.05  # synchronising did move something


@CASE
def test_one_window_is_diffusers_own_picture(exact_flow: Make, case: FlowCase) -> None:
    pipeline = exact_flow(case)
    asked = params(case, width=64, steps=4, sync={"weight": 0})
    ours = pipeline.decode(tiny.sample(pipeline, asked))
    noise = tiny.draw_noise(pipeline, asked)
    assert max_difference(ours, diffusers_own(case, case.theirs(pipeline), asked, noise)) <= 1


@CASE
def test_without_pull_it_is_windows_made_alone_and_averaged(
    exact_flow: Make, case: FlowCase
) -> None:
    """Step by step: what diffusers' scheduler makes of each window, averaged."""
    pipeline = exact_flow(case)
    asked = params(case, sync={"weight": 0})
    theirs = case.theirs(pipeline)
    v = case.velocity(theirs, asked.prompt, asked.negative_prompt, case.guidance_scale)
    z = tiny.draw_noise(pipeline, asked)
    scheduler = set_timesteps(theirs, pipeline, asked.steps or 0)
    for t in scheduler.timesteps:
        total, count = torch.zeros_like(z), torch.zeros_like(z)
        for left in (0, 2):
            place = ..., slice(left, left + 8)
            scheduler._step_index = scheduler._begin_index = None
            with torch.no_grad():
                total[place] += scheduler.step(v(z[place], t), t, z[place]).prev_sample
            count[place] += 1
        z = total / count
    torch.testing.assert_close(tiny.sample(pipeline, asked), z, rtol=0, atol=1e-5)


@CASE
@pytest.mark.parametrize("gradient", get_args(Gradient))
def test_window_batch_changes_nothing(exact_flow: Make, case: FlowCase, gradient: Gradient) -> None:
    pipeline, asked = exact_flow(case), params(case, steps=1, sync={"gradient": gradient})
    one, all_at_once = (tiny.sample(pipeline, asked, window_batch=size) for size in (1, 64))
    torch.testing.assert_close(one, all_at_once, rtol=0, atol=case.rounding)


@CASE
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_gaussian_gradient_goes_through_no_transformer(
    fresh_flow: Make, case: FlowCase, checkpointing: bool
) -> None:
    pipeline = fresh_flow(case)
    pipeline.set_gradient_checkpointing(checkpointing)
    calls: list[bool] = []  # whether with a gradient
    pipeline.denoiser.register_forward_pre_hook(
        lambda _layer, _given: calls.append(torch.is_grad_enabled())
    )
    made, plain = (
        tiny.sample(pipeline, params(case, sync=sync))
        for sync in ({"gradient": "gaussian"}, {"weight": 0})
    )
    assert calls
    assert not any(calls)
    assert (made - plain).abs().max() > 1e-3


@CASE
def test_gradient_checkpointing_changes_nothing(fresh_flow: Make, case: FlowCase) -> None:
    pipeline, asked = fresh_flow(case), params(case, steps=2)
    kept = tiny.sample(pipeline, asked)
    pipeline.set_gradient_checkpointing(True)
    assert pipeline.denoiser.is_gradient_checkpointing
    assert torch.equal(tiny.sample(pipeline, asked), kept)


APPLICATIONS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "loop": ({"loop": True, "width": 80}, {}),
    "shifted": ({"windows": "shifted", "preset": "balanced"}, {}),
    "regions": ({"regions": [{"prompt": "a forest", "x": 16, "width": 32}], "steps": 5}, {}),
    "anchor_image": ({"anchor_image": {"key": "given"}}, {"anchor_image": 64}),
    "extend": ({"extend": {"image": {"key": "given"}, "x": 16}}, {"extend.image": 48}),
}


@CASE
@pytest.mark.parametrize("application", APPLICATIONS)
def test_applications_resume(fresh_flow: Make, case: FlowCase, application: str) -> None:
    changes, images = APPLICATIONS[application]
    base = params(case).model_dump(exclude_unset=True)
    asked = PanoramaParams.model_validate({**base, **changes})
    pictures = {field: picture(width) for field, width in images.items()}
    check_resumes(lambda: fresh_flow(case), asked, pictures, at=(1,))


@CASE
def test_half_precision_resumes(fresh_flow: Make, case: FlowCase) -> None:
    def fresh() -> SyncDiffusionPipeline:
        return fresh_flow(case).to(torch.bfloat16)

    check_resumes(fresh, params(case), at=(1,))


@CASE
def test_extended_pictures_stay(fresh_flow: Make, case: FlowCase) -> None:
    pipeline = fresh_flow(case)
    given = torch.rand(1, 3, 64, 48) * 2 - 1
    asked = params(case, extend={"image": {"key": "given"}, "x": 16})
    made = tiny.sample(pipeline, asked, {"extend.image": given})
    known = pipeline.vae.encode(given).latent_dist.mode()
    config = pipeline.vae.config
    expected = (known - config.shift_factor) * config.scaling_factor
    torch.testing.assert_close(made[..., 2:8], expected, rtol=1e-5, atol=1e-5)
