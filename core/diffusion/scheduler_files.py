"""Load a checkpoint's scheduler, and refuse one whose noise schedule is not known."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import diffusers
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from panoweave.core.diffusion.checkpoint_parts import check_folder, part_errors
from panoweave.core.diffusion.errors import CheckpointError, UnsupportedSchedulerError
from panoweave.core.diffusion.flow_matching import check_flow_scheduler

# All of them were trained on, or step over, the noise schedule of DDPM (arXiv 2006.11239).
_DDPM_SCHEDULERS: Final = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
# What a scheduler's configuration may say that only holds for other noise schedules.
_OTHER_SCHEDULES: Final[Mapping[str, Any]] = {
    "use_flow_sigmas": False,
    "timestep_type": "discrete",
}


def load_ddpm_scheduler(folder: Path) -> tuple[DDIMScheduler, str]:
    """DDIM over the checkpoint's noise schedule, and the class that the checkpoint names."""
    with part_errors("scheduler"):
        check_folder(folder)
        config = DDIMScheduler.load_config(folder)
        name = str(config.get("_class_name"))
        if name not in _DDPM_SCHEDULERS:
            raise UnsupportedSchedulerError(name, _DDPM_SCHEDULERS)
        for setting, legal in _OTHER_SCHEDULES.items():
            if config.get(setting, legal) != legal:
                raise UnsupportedSchedulerError(
                    f"{name} with {setting} {config[setting]!r}", [f"{setting} {legal!r}"]
                )
        _refuse_unknown_settings(config, _DDPM_SCHEDULERS)
        needed = ["num_train_timesteps"]
        if config.get("trained_betas") is None:
            needed += ["beta_start", "beta_end", "beta_schedule"]
        if absent := [setting for setting in needed if config.get(setting) is None]:
            raise CheckpointError(
                f"scheduler_config.json does not say {', '.join(absent)}, which the UNet was "
                "trained with; add them"
            )
        # DDIM's own default is to clip the latents, which is for pixels.
        return DDIMScheduler.from_config({"clip_sample": False, **config}), name


def load_flow_scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler:
    """The scheduler of a flow-matching checkpoint."""
    with part_errors("scheduler"):
        check_folder(folder)
        config = FlowMatchEulerDiscreteScheduler.load_config(folder)
        name, legal = str(config.get("_class_name")), FlowMatchEulerDiscreteScheduler.__name__
        if name != legal:
            raise UnsupportedSchedulerError(name, [legal])
        _refuse_unknown_settings(config, [legal])
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
        check_flow_scheduler(scheduler)
        return scheduler


def _refuse_unknown_settings(config: Mapping[str, Any], schedulers: Iterable[str]) -> None:
    # Published checkpoints carry settings of the schedulers that they had before.
    known = {
        setting
        for name in schedulers
        for setting in inspect.signature(getattr(diffusers, name).__init__).parameters
    }
    unknown = [
        name
        for name, value in config.items()
        if name not in known and not name.startswith("_") and value not in (None, False)
    ]
    if unknown:
        raise CheckpointError(
            f"scheduler_config.json says {', '.join(sorted(unknown))}, which the installed "
            f"diffusers {diffusers.__version__} does not know; it was made for another version"
        )
