"""The last steps of a schedule, from an image instead of from noise: SDEdit (arXiv 2108.01073)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from panoweave.core.checkpoint import MAX_STEPS
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step


class LastSteps(SchedulerAdapter):
    """The last steps of a scheduler without a memory, numbered from 0.

    `prepare_latents` noises an image; the rest is the scheduler's.
    """

    def __init__(self, scheduler: SchedulerAdapter, count: int, image: Tensor) -> None:
        """`image`: clean latents (1, C, H, W)."""
        self._whole = scheduler
        self._image = image
        self._first = len(scheduler.steps) - count
        self._device = image.device
        self._generator = torch.Generator("cpu")  # no noise is drawn; states hold one
        self.steps = [
            replace(step, index=index) for index, step in enumerate(scheduler.steps[-count:])
        ]

    def prepare_latents(self, noise: Tensor) -> Tensor:
        return self.add_noise(self._image, noise, self.steps[0])

    def pred_original_sample(self, latents: Tensor, step: Step, output: Tensor) -> Tensor:
        return self._whole.pred_original_sample(latents, self._of_whole(step), output)

    def step(self, canvas: Tensor, step: Step, output: Tensor) -> Tensor:
        return self._whole.step(canvas, self._of_whole(step), output)

    def _restore(self, state: SamplerState) -> None:
        pass  # a step takes all it needs from its number

    def _of_whole(self, step: Step) -> Step:
        return self._whole.steps[self._first + step.index]


def last_steps(
    schedule: Callable[[int], SchedulerAdapter], count: int, noise_level: float, image: Tensor
) -> LastSteps:
    """So many steps that begin with about this standard deviation of the noise.

    `schedule`: the scheduler of a number of steps. The more there are, the less noise the last
    ones begin with.
    """
    for steps in range(count, MAX_STEPS + 1):
        whole = schedule(steps)
        if (1 - whole.steps[-count].alpha_cumprod).sqrt() <= noise_level:
            break
    return LastSteps(whole, count, image)
