"""The gradient with a Gaussian denoiser's Jacobian in place of the network's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.flow_matching import FlowMatching
from panoweave.core.diffusion.gaussian_denoiser import pull_back
from panoweave.core.diffusion.gradients import (
    gaussian_gradient,
    gradient_through,
    perceptual_gradient,
)
from panoweave.core.diffusion.guidance import ClassifierFreeGuidance, Model
from panoweave.core.diffusion.schedulers import Ddim, SchedulerAdapter, Step
from panoweave.core.diffusion.unet import UNet
from panoweave.core.diffusion.views import View
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import Gradient
from tests.core import tiny
from tests.core.gaussian import apply, denoiser

SIZE = tiny.WINDOW_LATENTS
VIEWS = [View(0, 0), View(0, 4), View(0, 8)]
CPU = torch.device("cpu")


def windows(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, SIZE, SIZE, generator=generator, dtype=torch.float64)


def appearance() -> Appearance:
    torch.manual_seed(0)
    return Appearance(tiny.autoencoder().double().requires_grad_(False), tiny.perceptual().double())


@pytest.mark.parametrize("alpha_cumprod", [0.0, 0.005, 0.3, 0.97, 1.0])
def test_the_filter_is_the_posterior_means_jacobian(alpha_cumprod: float) -> None:
    x = windows()
    filtered = pull_back(x, torch.tensor(alpha_cumprod, dtype=torch.float64))
    jacobian = denoiser(SIZE, alpha_cumprod)
    torch.testing.assert_close(filtered, apply(jacobian.T, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [8, 32, 128])
def test_float32_is_enough(size: int) -> None:
    torch.manual_seed(0)
    x, alpha_cumprod = torch.randn(1, 4, size, size), torch.tensor(0.3)
    exact = pull_back(x.double(), alpha_cumprod.double())
    filtered = pull_back(x, alpha_cumprod)
    assert filtered.dtype == torch.float32
    torch.testing.assert_close(filtered.double(), exact, rtol=0, atol=1e-5)


def test_in_nothing_but_noise_the_gradient_is_0() -> None:
    """Zero terminal SNR, and the first step of flow models: no window can say anything of x0."""
    step = Step(0, torch.tensor(999), torch.tensor(0.0))
    scheduler: SchedulerAdapter = Ddim(tiny.stable_diffusions_scheduler("v_prediction"), 4, 0, CPU)
    x, seen = (
        windows().float(),
        Appearance(tiny.autoencoder().requires_grad_(False), tiny.perceptual()),
    )
    gradient, outputs, _ = gaussian_gradient(
        lambda latents, _step, _views: 0.5 * latents, x, step, VIEWS, scheduler, seen, None
    )
    assert torch.equal(gradient, torch.zeros_like(x))
    assert torch.equal(outputs, 0.5 * x)


def optimal(scheduler: SchedulerAdapter, prediction_type: str) -> Model:
    """A network that is the denoiser, whatever it has to predict."""

    def model(latents: Tensor, step: Step, _views: Sequence[View]) -> Tensor:
        signal = float(step.alpha_cumprod)
        original = apply(denoiser(latents.shape[-1], signal), latents)
        if prediction_type == "sample":
            return original
        if prediction_type == "flow":
            level = scheduler.steps[step.index].scale * math.sqrt(1 - signal)
            return (latents * step.scale - original) / level
        epsilon = (latents - math.sqrt(signal) * original) / math.sqrt(1 - signal)
        if prediction_type == "epsilon":
            return epsilon
        return math.sqrt(signal) * epsilon - math.sqrt(1 - signal) * original

    return model


def scheduler_for(prediction_type: str) -> SchedulerAdapter:
    if prediction_type == "flow":
        return FlowMatching(FlowMatchEulerDiscreteScheduler(shift=3.0), 6, CPU, shift=None)
    scheduler = tiny.stable_diffusions_scheduler(prediction_type)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    return Ddim(scheduler, 6, 0, CPU)


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("with_anchor", [False, True])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample", "flow"])
def test_where_the_network_is_that_denoiser_it_is_the_gradient_through_the_network(
    prediction_type: str, with_anchor: bool, at: int
) -> None:
    scheduler, seen, x = scheduler_for(prediction_type), appearance(), windows()
    model, step = optimal(scheduler, prediction_type), scheduler.steps[at]
    with torch.no_grad():
        target = None if with_anchor else seen.of(windows(5)[4:])
    through, outputs, compared = perceptual_gradient(model, x, step, VIEWS, scheduler, seen, target)
    gaussian, same, as_well = gaussian_gradient(model, x, step, VIEWS, scheduler, seen, target)
    assert through.abs().max() > 1e-6
    torch.testing.assert_close(gaussian, through, rtol=1e-5, atol=1e-5 * float(through.abs().max()))
    assert torch.equal(same, outputs)
    assert not same.requires_grad
    for ours, theirs in zip(as_well, compared, strict=True):
        assert torch.equal(ours, theirs)


def test_the_output_is_that_of_the_model_without_a_gradient(tmp_path: Path) -> None:
    """Both halves of the guidance in one batch, bit for bit."""
    pipeline = tiny.pipeline(tmp_path)
    prompts = pipeline.encode_prompt("a lake", "rain")
    guided = ClassifierFreeGuidance(UNet(pipeline.unet, 3.0), prompts, 3.0)
    batches: list[tuple[int, bool]] = []
    pipeline.unet.conv_out.register_forward_pre_hook(
        lambda _, given: batches.append((len(given[0]), torch.is_grad_enabled()))
    )
    scheduler = scheduler_for("epsilon")
    step, x = scheduler.steps[2], windows().float()
    seen = Appearance(pipeline.vae, tiny.perceptual())
    with torch.enable_grad():
        gradient_of = gradient_through(guided, "gaussian")
        _, outputs, _ = gradient_of(x, step, VIEWS, scheduler, seen, None)
    with torch.no_grad():
        expected = guided(x, step, VIEWS)
    assert torch.equal(outputs, expected)
    assert batches == [(6, False), (6, False)]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("gradient", "goes_through"), [(None, False), ("conditional", True), ("guided", True)]
)
def test_balanced_takes_no_gradient_through_the_network(
    tmp_path: Path, gradient: Gradient | None, goes_through: bool, checkpointing: bool
) -> None:
    pipeline = tiny.pipeline(tmp_path)
    pipeline.perceptual = tiny.perceptual()
    pipeline.set_gradient_checkpointing(checkpointing)
    calls: list[bool] = []  # whether with a gradient
    pipeline.unet.conv_in.register_forward_pre_hook(
        lambda _layer, _given: calls.append(torch.is_grad_enabled())
    )

    def made(**sync: Any) -> Tensor:
        asked = PanoramaParams(
            prompt="a lake", width=192, steps=3, seed=1, sync=SyncParams(gradient=gradient, **sync)
        )
        return tiny.sample(pipeline, asked)

    synchronised = made()
    assert any(calls) == goes_through
    assert (synchronised - made(weight=0)).abs().max() > 1e-3


def test_a_recording_can_hold_it() -> None:
    """On a device without values, which raises where the host would wait for one."""
    x = torch.empty(3, 4, SIZE, SIZE, device="meta")
    alpha_cumprod = torch.empty((), device="meta")
    assert pull_back(x, alpha_cumprod).device.type == "meta"
    with pytest.raises(RuntimeError):
        float(alpha_cumprod)
