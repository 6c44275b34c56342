"""Kinds of checkpoints: what differs between them, one file a family.

To add a family: its row in `core/families.py`, its file here, and its entry below.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from panoweave.core import families
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.families.family import ModelFamily
from panoweave.core.diffusion.families.stable_diffusion import StableDiffusion
from panoweave.core.diffusion.families.stable_diffusion_3 import StableDiffusion3
from panoweave.core.diffusion.families.stable_diffusion_xl import StableDiffusionXL

__all__ = ["PARTS", "ModelFamily", "StableDiffusion", "StableDiffusionXL", "family_in", "family_of"]

_FAMILIES: Final[Mapping[families.Family, ModelFamily]] = MappingProxyType(
    {
        family.about: family
        for family in (StableDiffusion(), StableDiffusionXL(), StableDiffusion3())
    }
)

# The folders of a checkpoint that are loaded, whatever its family.
PARTS: Final = tuple(
    dict.fromkeys(name for family in _FAMILIES.values() for name in family.parts.names)
)


def family_in(index: Mapping[str, Any]) -> ModelFamily:
    """The family of a checkpoint with this `model_index.json`. Raises CheckpointError."""
    found = families.family_in(index)
    if found is None:
        legal = ", ".join(family.title for family in _FAMILIES)
        raise CheckpointError(
            f"a {index.get('_class_name')} is not supported; legal: checkpoints of {legal}"
        )
    return _FAMILIES[found]


def family_of(denoiser: Any, text_encoder_2: Any | None) -> ModelFamily:
    """The family of a checkpoint with these networks. `check` refuses what it cannot run."""
    name = type(denoiser).__name__
    for about, family in _FAMILIES.items():
        if about.denoiser == "transformer" and about.denoiser_class == name:
            return family
    return _FAMILIES[
        families.STABLE_DIFFUSION if text_encoder_2 is None else families.STABLE_DIFFUSION_XL
    ]
