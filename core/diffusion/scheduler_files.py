"""Load a checkpoint's scheduler, and refuse one whose noise schedule is not known."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from panoweave.core.diffusion.checkpoint_parts import check_folder
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.model_files.errors import part_errors
from panoweave.core.model_files.scheduler import (
    DDPM_SCHEDULERS,
    check_flow_config,
    check_scheduler_config,
)


def load_ddpm_scheduler(folder: Path) -> tuple[DDIMScheduler, str]:
    """DDIM over the checkpoint's noise schedule, and the class that the checkpoint names."""
    with part_errors("scheduler"):
        check_folder(folder)
        config = DDIMScheduler.load_config(folder)
        name = check_scheduler_config(config)
        _refuse_unknown_settings(config, DDPM_SCHEDULERS)
        # DDIM's own default is to clip the latents, which is for pixels.
        return DDIMScheduler.from_config({"clip_sample": False, **config}), name


def load_flow_scheduler(folder: Path) -> tuple[FlowMatchEulerDiscreteScheduler, str]:
    """The scheduler of a flow-matching checkpoint, and its class."""
    with part_errors("scheduler"):
        check_folder(folder)
        config = FlowMatchEulerDiscreteScheduler.load_config(folder)
        name = check_flow_config(config)
        _refuse_unknown_settings(config, [name])
        return FlowMatchEulerDiscreteScheduler.from_config(config), name


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
