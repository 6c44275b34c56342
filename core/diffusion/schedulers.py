"""The reverse process of a whole canvas: any scheduler whose step is linear in what it is given.

Windows are merged first and stepped once, together. For a step that is linear in latents and
prediction, as DDIM's is, that is MultiDiffusion's average of stepped windows, to the letter; what
a multi-step scheduler remembers is then the canvas's, wherever the next step's windows lie.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from torch import Tensor

from panoweave.core.diffusion.errors import UnsupportedSchedulerError
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.presets import SchedulerName

SCHEDULERS: Final[Mapping[SchedulerName, type]] = MappingProxyType(
    {
        "ddim": DDIMScheduler,
        "euler": EulerDiscreteScheduler,
        "dpm++": DPMSolverMultistepScheduler,
        "lcm": LCMScheduler,
    }
)
_PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")


def check_scheduler(scheduler: Any) -> None:
    """Refuse, by name, a scheduler that is not one of these."""
    if type(scheduler) not in SCHEDULERS.values():
        supported = [kind.__name__ for kind in SCHEDULERS.values()]
        raise UnsupportedSchedulerError(type(scheduler).__name__, supported)
    prediction_type = scheduler.config.prediction_type
    if prediction_type not in _PREDICTION_TYPES:
        raise UnsupportedSchedulerError(
            f"{type(scheduler).__name__} with prediction type {prediction_type!r}",
            [f"prediction type {kind!r}" for kind in _PREDICTION_TYPES],
        )


@dataclass(frozen=True)
class Step:
    """One step of the reverse process."""

    index: int  # from 0
    t: Tensor  # the timestep, as the UNet takes it
    alpha: Tensor  # alpha-bar_t of DDPM: how much of the variance is signal


class Sampler:
    """A scheduler's copy, for one panorama.

    Latents here are variance preserving, z_t = sqrt(a_t) x0 + sqrt(1 - a_t) eps, also where the
    scheduler keeps them otherwise: a distance between latents means the same under each.
    """

    def __init__(
        self, scheduler: Any, name: SchedulerName, steps: int, seed: int, device: torch.device
    ) -> None:
        """`scheduler`: holds the checkpoint's noise schedule; `name`: what is to step it."""
        kind = SCHEDULERS[name]
        same = type(scheduler) is kind
        self._scheduler = (
            copy.deepcopy(scheduler) if same else kind.from_config(scheduler.config)  # type: ignore[attr-defined]
        )
        check_scheduler(self._scheduler)
        self._scheduler.set_timesteps(steps, device=device)
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self.steps = [
            Step(index, t, self._alpha(index, t).to(device))
            for index, t in enumerate(self._scheduler.timesteps)
        ]

    def begin(self, noise: Tensor) -> Tensor:
        """The first canvas (1, C, H, W), of unit noise."""
        return noise * (float(self._scheduler.init_noise_sigma) / self._scale(0))

    def resume(self, state: SamplerState, noise: Tensor) -> Tensor:
        """The canvas (1, C, H, W) as it stood; from here on everything is as it would have been.

        `noise`: what the panorama began with. Raises ValueError where it is another one's.
        """
        latents = state.latents.to(noise.device)
        if (latents.shape, latents.dtype) != (noise.shape, noise.dtype):
            raise ValueError(
                f"it stood at latents {tuple(latents.shape)} of {latents.dtype}; this panorama has "
                f"{tuple(noise.shape)} of {noise.dtype}"
            )
        if not 0 < state.step <= len(self.steps):
            raise ValueError(f"it stood at step {state.step} of {len(self.steps)}")
        self._generator.set_state(state.generator_state.cpu())
        if isinstance(self._scheduler, DPMSolverMultistepScheduler):
            outputs = self._scheduler.model_outputs
            for name in state.scheduler_state:
                outputs[int(name)] = state.scheduler_state[name].to(noise.device)
            self._scheduler.lower_order_nums = min(state.step, len(outputs))
        if not isinstance(self._scheduler, DDIMScheduler):  # which counts no steps
            self._scheduler.set_begin_index(state.step)
        return latents

    def state(self) -> dict[str, Tensor]:
        """What the scheduler keeps from step to step."""
        if not isinstance(self._scheduler, DPMSolverMultistepScheduler):
            return {}
        # But for the oldest output, which the next step drops before it looks at them.
        outputs = list(enumerate(self._scheduler.model_outputs))[1:]
        return {str(place): output for place, output in outputs if output is not None}

    def generator_state(self) -> Tensor:
        return self._generator.get_state()

    def foresee(self, windows: Tensor, step: Step, prediction: Tensor) -> Tensor:
        """The predicted original sample x0(z_t): SyncDiffusion, Eq. 10."""
        signal, noise = step.alpha.sqrt(), (1 - step.alpha).sqrt()
        kind = self._scheduler.config.prediction_type
        if kind == "epsilon":
            return (windows - noise * prediction) / signal
        return prediction if kind == "sample" else signal * windows - noise * prediction

    def step(self, canvas: Tensor, step: Step, prediction: Tensor) -> Tensor:
        """z_t -> z_(t-1) of a canvas (1, C, H, W), steps in their order."""
        kept = canvas * self._scale(step.index)
        if isinstance(self._scheduler, EulerDiscreteScheduler):
            self._scheduler.scale_model_input(kept, step.t)  # it insists; the result is `canvas`
        # Noise, where a scheduler adds any, is the canvas's: averaged, windows' would fade.
        stepped = self._scheduler.step(prediction, step.t, kept, generator=self._generator)
        previous: Tensor = stepped.prev_sample
        return previous / self._scale(step.index + 1)

    def noised(self, latents: Tensor, noise: Tensor, step: Step) -> Tensor:
        """Clean latents as they are at a step: arXiv 2006.11239, Eq. 4."""
        return step.alpha.sqrt() * latents + (1 - step.alpha).sqrt() * noise

    def _alpha(self, index: int, t: Tensor) -> Tensor:
        if isinstance(self._scheduler, EulerDiscreteScheduler | DPMSolverMultistepScheduler):
            alpha: Tensor = 1 / (1 + self._scheduler.sigmas[index] ** 2)
        else:
            alpha = self._scheduler.alphas_cumprod[t.cpu()]
        return alpha

    def _scale(self, index: int) -> float:
        """What the scheduler's latents are to variance preserving ones."""
        if not isinstance(self._scheduler, EulerDiscreteScheduler):
            return 1.0
        return float((1 + self._scheduler.sigmas[index] ** 2).sqrt())
