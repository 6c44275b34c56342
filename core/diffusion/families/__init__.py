"""Kinds of checkpoints: what differs between them, one file a family."""

from __future__ import annotations

from typing import Any, Final

from panoweave.core.diffusion.families.family import ModelFamily
from panoweave.core.diffusion.families.stable_diffusion import StableDiffusion
from panoweave.core.diffusion.families.stable_diffusion_xl import StableDiffusionXL

__all__ = ["ModelFamily", "StableDiffusion", "StableDiffusionXL", "family_of"]

_STABLE_DIFFUSION: Final = StableDiffusion()
_STABLE_DIFFUSION_XL: Final = StableDiffusionXL()


def family_of(text_encoder_2: Any | None) -> ModelFamily:
    """The family of a checkpoint with these components. `check` refuses what it cannot run."""
    return _STABLE_DIFFUSION if text_encoder_2 is None else _STABLE_DIFFUSION_XL
