"""Line 6 of Algorithm 1 (see `sampling`), d/dx_i L(D(phi(x_i, t)), I_0), as `sync.gradient` says.

The way back from L to x_i leads through the perceptual network, the clamp, the decoder, phi, the
guidance and the network. The presets other than `paper` take a part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.gaussian_denoiser import pull_back
from panoweave.core.diffusion.guidance import ClassifierFreeGuidance, Model
from panoweave.core.diffusion.perceptual import Embedding, distance
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import View
from panoweave.core.presets import Gradient

# The loss is a mean over all pixels, so one pixel's share of the gradient underflows in float16.
# A power of two: scaling and unscaling round nothing in other dtypes.
_LOSS_SCALE: Final = 2.0**12

# Of a batch of windows (N, C, S, S) at a step and views: the gradient; the model outputs, both
# (N, C, S, S); and the target, the embedding of I_0. None as target: the first window is the
# anchor, and its gradient is 0.
GradientOf = Callable[
    [Tensor, Step, Sequence[View], SchedulerAdapter, Appearance, Embedding | None],
    tuple[Tensor, Tensor, Embedding],
]


def gradient_through(guided: ClassifierFreeGuidance, gradient: Gradient | None) -> GradientOf:
    """Line 6 of a model with guidance; None, of jobs from before there was a choice: 'guided'."""
    if gradient == "gaussian":
        return partial(gaussian_gradient, guided)
    if gradient == "conditional":
        return partial(perceptual_gradient, guided.through_conditional)
    return partial(perceptual_gradient, guided)


def perceptual_gradient(
    model: Model,
    windows: Tensor,
    step: Step,
    views: Sequence[View],
    scheduler: SchedulerAdapter,
    appearance: Appearance,
    target: Embedding | None,
) -> tuple[Tensor, Tensor, Embedding]:
    """Line 6 as it is written, all the way back through the model."""
    with torch.enable_grad():
        x = windows.detach().requires_grad_()
        outputs = model(x, step, views)
        original = scheduler.pred_original_sample(x, step, outputs)
        gradient, target = _slope(x, original, appearance, target)
    return gradient, outputs.detach(), target


def gaussian_gradient(
    model: Model,
    windows: Tensor,
    step: Step,
    views: Sequence[View],
    scheduler: SchedulerAdapter,
    appearance: Appearance,
    target: Embedding | None,
) -> tuple[Tensor, Tensor, Embedding]:
    """The same, with the Jacobian of phi replaced by that of `gaussian_denoiser`.

    phi(x_i, t) itself is the model's. Latents are variance preserving with every scheduler, so
    alpha-bar is all that the denoiser has to know of the step.
    """
    with torch.no_grad():
        outputs = model(windows, step, views)
        original = scheduler.pred_original_sample(windows, step, outputs)
    with torch.enable_grad():
        x0 = original.detach().requires_grad_()  # of some models it is the output itself
        gradient, target = _slope(x0, x0, appearance, target)
    return pull_back(gradient, step.alpha_cumprod), outputs, target


def _slope(
    x: Tensor, original: Tensor, appearance: Appearance, target: Embedding | None
) -> tuple[Tensor, Embedding]:
    """d/dx L(D(original), I_0), and the target."""
    embedding = appearance.of(original)
    if target is None:
        target = [layer[:1].detach() for layer in embedding]
    # Windows do not depend on one another, so the gradient of the sum is that of each window.
    loss = distance(embedding, target).sum()
    (gradient,) = torch.autograd.grad(loss * _LOSS_SCALE, x)
    return gradient / _LOSS_SCALE, target
