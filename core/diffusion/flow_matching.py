"""Flow matching (arXiv 2210.02747) behind the same adapter as the other schedulers.

Such a model goes straight from noise e to an image x0: z_s = (1 - s) x0 + s e, s from 1 to 0. It
predicts the velocity v = e - x0, so x0 = z_s - s v. Euler's step z_s' = z_s + (s' - s) v is linear
in z_s and v, so merging windows first is MultiDiffusion here too (see `schedulers`).

Outside of the adapter latents are variance preserving, as those of all schedulers:
z_s / sqrt((1 - s)^2 + s^2), where alpha-bar = (1 - s)^2 / ((1 - s)^2 + s^2). So the move of a
window means the same for every family of checkpoints.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.model_files.scheduler import check_flow_config


class FlowMatching(SchedulerAdapter):
    """diffusers' noise levels, and Euler's step between them."""

    diffusers_class: ClassVar[Any] = FlowMatchEulerDiscreteScheduler

    def __init__(
        self, scheduler: Any, steps: int, device: torch.device, *, shift: float | None
    ) -> None:
        """`scheduler`: the checkpoint's own; it is not changed.

        `shift`: of the noise levels, where the checkpoint shifts them by the size of the picture.
        """
        self._scheduler = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        check_flow_scheduler(self._scheduler)
        self._set_noise_levels(steps, shift)
        self._levels = [float(level) for level in self._scheduler.sigmas.double()]
        self._scales = [math.hypot(1 - level, level) for level in self._levels]
        self._device = device
        self._generator = torch.Generator("cpu")  # no noise is drawn; states hold one
        self.steps = [
            Step(index, t.to(device), torch.tensor(((1 - level) / scale) ** 2).to(device), scale)
            for index, (t, level, scale) in enumerate(
                zip(self._scheduler.timesteps, self._levels[:-1], self._scales[:-1], strict=True)
            )
        ]

    def _set_noise_levels(self, steps: int, shift: float | None) -> None:
        self._scheduler.set_timesteps(steps, mu=shift)

    def prepare_latents(self, noise: Tensor) -> Tensor:
        return noise / self._scales[0]

    def pred_original_sample(self, latents: Tensor, step: Step, output: Tensor) -> Tensor:
        return latents * step.scale - self._levels[step.index] * output

    def step(self, canvas: Tensor, step: Step, output: Tensor) -> Tensor:
        level, following = self._levels[step.index : step.index + 2]
        stepped = canvas * step.scale + (following - level) * output
        return stepped / self._scales[step.index + 1]

    def _restore(self, state: SamplerState) -> None:
        pass  # a step takes all it needs from its number


class EvenFlowMatching(FlowMatching):
    """For models trained with noise levels 1, 1 - 1/n, ..., 1/n, before they are shifted."""

    def _set_noise_levels(self, steps: int, shift: float | None) -> None:
        levels = [1 - index / steps for index in range(steps)]
        self._scheduler.set_timesteps(sigmas=levels, mu=shift)


def window_shift(scheduler: Any, tokens: int, max_shift: float = 1.15) -> float | None:
    """The shift of the noise levels for windows of so many tokens; None: not by their number.

    A larger picture needs more noise to be hidden (arXiv 2403.03206, Sec. 5.3.2). The network sees
    windows, so their size counts and not the canvas's. `max_shift`: where the checkpoint says none.
    """
    config = scheduler.config
    if not config.use_dynamic_shifting:
        return None
    return float(
        calculate_shift(
            tokens,
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", max_shift),
        )
    )


def check_flow_scheduler(scheduler: Any) -> None:
    """Refuse, by name, a diffusers scheduler that does not make Euler's steps of flow matching."""
    check_flow_config({**scheduler.config, "_class_name": type(scheduler).__name__})
