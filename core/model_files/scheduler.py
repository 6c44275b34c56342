"""A checkpoint's scheduler, by its `scheduler_config.json`: is its noise schedule known?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from panoweave.core.model_files.errors import CheckpointError, UnsupportedSchedulerError

SCHEDULER_FILE: Final = "scheduler_config.json"
PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")
# All of them were trained on, or step over, the noise schedule of DDPM (arXiv 2006.11239).
DDPM_SCHEDULERS: Final = (
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
FLOW_SCHEDULER: Final = "FlowMatchEulerDiscreteScheduler"
# Settings that make other steps than Euler's from noise to image.
_OTHER_FLOWS: Final = ("invert_sigmas", "stochastic_sampling")


def check_scheduler_config(config: Mapping[str, Any]) -> str:
    """The class that it names. Raises DiffusionError unless it is one with DDPM's schedule."""
    name = str(config.get("_class_name"))
    if name not in DDPM_SCHEDULERS:
        raise UnsupportedSchedulerError(name, DDPM_SCHEDULERS)
    for setting, legal in _OTHER_SCHEDULES.items():
        if config.get(setting, legal) != legal:
            raise UnsupportedSchedulerError(
                f"{name} with {setting} {config[setting]!r}", [f"{setting} {legal!r}"]
            )
    needed = ["num_train_timesteps"]
    if config.get("trained_betas") is None:
        needed += ["beta_start", "beta_end", "beta_schedule"]
    if absent := [setting for setting in needed if config.get(setting) is None]:
        raise CheckpointError(
            f"{SCHEDULER_FILE} does not say {', '.join(absent)}, which the UNet was trained with; "
            "add them"
        )
    check_prediction_type(name, config.get("prediction_type", PREDICTION_TYPES[0]))
    return name


def check_flow_config(config: Mapping[str, Any]) -> str:
    """The class that it names. Raises DiffusionError unless it makes Euler's steps of a flow."""
    name = str(config.get("_class_name"))
    if name != FLOW_SCHEDULER:
        raise UnsupportedSchedulerError(name, [FLOW_SCHEDULER])
    for setting in _OTHER_FLOWS:
        if config.get(setting, False):
            raise UnsupportedSchedulerError(
                f"{name} with {setting} {config[setting]!r}", [f"{setting} False"]
            )
    return name


def check_prediction_type(scheduler: str, prediction_type: object) -> None:
    if prediction_type not in PREDICTION_TYPES:
        raise UnsupportedSchedulerError(
            f"{scheduler} with prediction type {prediction_type!r}",
            [f"prediction type {supported!r}" for supported in PREDICTION_TYPES],
        )
