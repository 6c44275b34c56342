"""The schedulers of diffusers behind one adapter, which steps a whole canvas.

Windows are merged first and stepped together. For schedulers whose step is linear in the latents
and the model output, such as DDIM's, that equals MultiDiffusion's average of windows that were
stepped one by one; what a multi-step scheduler remembers belongs to the canvas then, wherever the
windows of the next step lie.

To add a scheduler: an adapter here, its entry in SCHEDULERS, and its name in `SchedulerName`.
Flow-matching models have an adapter of their own, `flow_matching.FlowMatching`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

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
from panoweave.core.model_files.scheduler import check_prediction_type
from panoweave.core.presets import SchedulerName


@dataclass(frozen=True)
class Step:
    """One step of the reverse process."""

    index: int  # from 0
    t: Tensor  # the timestep, as the network takes it
    alpha_cumprod: Tensor  # alpha-bar_t of DDPM: the share of signal in the variance
    scale: float = 1.0  # of what a flow-matching network takes, to our latents: `flow_matching`


def _from_epsilon(latents: Tensor, output: Tensor, alpha_cumprod: Tensor) -> Tensor:
    return (latents - (1 - alpha_cumprod).sqrt() * output) / alpha_cumprod.sqrt()


def _from_velocity(latents: Tensor, output: Tensor, alpha_cumprod: Tensor) -> Tensor:
    return alpha_cumprod.sqrt() * latents - (1 - alpha_cumprod).sqrt() * output


def _from_sample(_latents: Tensor, output: Tensor, _alpha_cumprod: Tensor) -> Tensor:
    return output


# x0 of latents, model output and alpha-bar_t, by the scheduler's prediction type.
_ORIGINAL_SAMPLE: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = (
    MappingProxyType(
        {"epsilon": _from_epsilon, "v_prediction": _from_velocity, "sample": _from_sample}
    )
)


class SchedulerAdapter:
    """A diffusers scheduler for one panorama.

    All latents outside of this class are variance preserving, z_t = sqrt(a_t) x0 +
    sqrt(1 - a_t) eps, whatever the scheduler itself keeps: so distances between latents, and with
    them the moves of the windows, mean the same with each scheduler.
    """

    diffusers_class: ClassVar[Any]

    def __init__(self, scheduler: Any, steps: int, seed: int, device: torch.device) -> None:
        """`scheduler`: the checkpoint's own, which holds the noise schedule; it is not changed."""
        if type(scheduler) is self.diffusers_class:
            self._scheduler = copy.deepcopy(scheduler)
        else:
            self._scheduler = self.diffusers_class.from_config(scheduler.config)
        check_scheduler(self._scheduler)
        self._scheduler.set_timesteps(steps, device=device)
        self._original_sample = _ORIGINAL_SAMPLE[self._scheduler.config.prediction_type]
        # Noise, where a scheduler adds any, is drawn for the canvas: averaged over windows, it
        # would fade.
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._device = device
        self._scales = self._read_scales()
        schedule = zip(self._scheduler.timesteps, self._read_alphas_cumprod(), strict=True)
        self.steps = [Step(i, t, alpha.to(device)) for i, (t, alpha) in enumerate(schedule)]

    def prepare_latents(self, noise: Tensor) -> Tensor:
        """The first canvas (1, C, H, W), from unit noise."""
        return noise * (float(self._scheduler.init_noise_sigma) / self._scales[0])

    def add_noise(self, latents: Tensor, noise: Tensor, step: Step) -> Tensor:
        """Clean latents, noised to the level of a step: arXiv 2006.11239, Eq. 4."""
        return step.alpha_cumprod.sqrt() * latents + (1 - step.alpha_cumprod).sqrt() * noise

    def pred_original_sample(self, latents: Tensor, step: Step, output: Tensor) -> Tensor:
        """x0, the clean latents that the model output predicts; any number of windows."""
        return self._original_sample(latents, output, step.alpha_cumprod)

    def step(self, canvas: Tensor, step: Step, output: Tensor) -> Tensor:
        """z_t -> z_(t-1) of a canvas (1, C, H, W). To be called for each step in order."""
        stepped = self._scheduler.step(
            output, step.t, canvas * self._scales[step.index], generator=self._generator
        )
        previous: Tensor = stepped.prev_sample
        return previous / self._scales[step.index + 1]

    def state(self, step: Step, latents: Tensor) -> SamplerState:
        """The state after a step that gave these latents."""
        return SamplerState(step.index + 1, latents, self._outputs(), self._generator.get_state())

    def restore(self, state: SamplerState, noise: Tensor) -> Tensor:
        """Go on from a state; returns its canvas (1, C, H, W).

        `noise`: what the panorama began with. Raises ValueError if the state does not fit it.
        """
        latents = state.latents.to(self._device)
        if (latents.shape, latents.dtype) != (noise.shape, noise.dtype):
            raise ValueError(
                f"the state has latents {tuple(latents.shape)} of {latents.dtype}; this panorama "
                f"has {tuple(noise.shape)} of {noise.dtype}"
            )
        if not 0 < state.step <= len(self.steps):
            raise ValueError(f"the state is of step {state.step} of {len(self.steps)}")
        self._generator.set_state(state.generator_state.cpu())
        self._restore(state)
        return latents

    def _read_alphas_cumprod(self) -> Tensor:
        """alpha-bar_t at each step (steps,)."""
        alphas: Tensor = self._scheduler.alphas_cumprod[self._scheduler.timesteps.cpu()]
        return alphas

    def _read_scales(self) -> list[float]:
        """The scheduler's own latents divided by ours, before each step and after the last."""
        return [1.0] * (len(self._scheduler.timesteps) + 1)

    def _outputs(self) -> dict[str, Tensor]:
        """What the scheduler itself keeps from step to step."""
        return {}

    def _restore(self, state: SamplerState) -> None:
        self._scheduler.set_begin_index(state.step)


class Ddim(SchedulerAdapter):
    diffusers_class = DDIMScheduler

    def _restore(self, state: SamplerState) -> None:
        pass  # diffusers' DDIM takes all it needs from the timestep


class Lcm(SchedulerAdapter):
    diffusers_class = LCMScheduler


class _SigmaScheduler(SchedulerAdapter):
    """Its noise levels are sigmas, the last of which is after the last step."""

    def _read_alphas_cumprod(self) -> Tensor:
        alphas: Tensor = 1 / (1 + self._scheduler.sigmas[:-1] ** 2)
        return alphas


class Euler(_SigmaScheduler):
    """Variance exploding: its latents are x0 + sigma eps."""

    diffusers_class = EulerDiscreteScheduler

    def step(self, canvas: Tensor, step: Step, output: Tensor) -> Tensor:
        self._scheduler.scale_model_input(canvas, step.t)  # diffusers warns without this call
        return super().step(canvas, step, output)

    def _read_scales(self) -> list[float]:
        return [float((1 + sigma**2).sqrt()) for sigma in self._scheduler.sigmas]


class DpmSolver(_SigmaScheduler):
    """Multi-step: it keeps model outputs of earlier steps."""

    diffusers_class = DPMSolverMultistepScheduler

    def _outputs(self) -> dict[str, Tensor]:
        # Without the oldest output, which the next step drops before it uses any.
        outputs = list(enumerate(self._scheduler.model_outputs))[1:]
        return {str(place): output for place, output in outputs if output is not None}

    def _restore(self, state: SamplerState) -> None:
        outputs = self._scheduler.model_outputs
        for place, output in state.scheduler_state.items():
            outputs[int(place)] = output.to(self._device)
        self._scheduler.lower_order_nums = min(state.step, len(outputs))
        super()._restore(state)


SCHEDULERS: Final[Mapping[SchedulerName, type[SchedulerAdapter]]] = MappingProxyType(
    {"ddim": Ddim, "euler": Euler, "dpm++": DpmSolver, "lcm": Lcm}
)


def check_scheduler(scheduler: Any) -> None:
    """Refuse, by name, a diffusers scheduler that no adapter is for."""
    classes = [adapter.diffusers_class for adapter in SCHEDULERS.values()]
    if type(scheduler) not in classes:
        raise UnsupportedSchedulerError(
            type(scheduler).__name__, [supported.__name__ for supported in classes]
        )
    check_prediction_type(type(scheduler).__name__, scheduler.config.prediction_type)
