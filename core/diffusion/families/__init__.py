"""Kinds of checkpoints: what differs between them, one file a family.

To add a family: its row in `core/families.py`, what its files say in `core/model_files`, its
networks' classes in `checkpoint_parts`, its file here, and its entry below.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from panoweave.core import families
from panoweave.core.diffusion.families.family import ModelFamily
from panoweave.core.diffusion.families.flux import Flux
from panoweave.core.diffusion.families.stable_diffusion import StableDiffusion
from panoweave.core.diffusion.families.stable_diffusion_3 import StableDiffusion3
from panoweave.core.diffusion.families.stable_diffusion_xl import StableDiffusionXL
from panoweave.core.diffusion.families.z_image import ZImage

__all__ = ["ModelFamily", "family_named", "family_of"]

_FAMILIES: Final[Mapping[families.Family, ModelFamily]] = MappingProxyType(
    {
        family.about: family
        for family in (StableDiffusion(), StableDiffusionXL(), StableDiffusion3(), Flux(), ZImage())
    }
)


def family_named(about: families.Family) -> ModelFamily:
    return _FAMILIES[about]


def family_of(denoiser: Any, text_encoder_2: Any | None) -> ModelFamily:
    """The family of a checkpoint with these networks."""
    name = type(denoiser).__name__
    for about, family in _FAMILIES.items():
        if about.denoiser == "transformer" and name in about.networks["transformer"]:
            return family
    return _FAMILIES[
        families.STABLE_DIFFUSION if text_encoder_2 is None else families.STABLE_DIFFUSION_XL
    ]
