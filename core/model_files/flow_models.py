"""Whether the parts of a flow-matching checkpoint fit together, and what they make.

`parts`: as for `stable_diffusion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits
from panoweave.core.families import FLUX, STABLE_DIFFUSION_3, Z_IMAGE, Family
from panoweave.core.model_files.errors import CheckpointError

_PATCH: Final = 2  # latents along a side of a token, for each of these families
_USUAL_WINDOW: Final = 128  # latents, where the network names no size: 1,024 px, as in diffusers
# What the makers of each recommend.
_SD3_GUIDANCE_SCALE: Final = 7.0
_FLUX_GUIDANCE_SCALE: Final = 3.5
_SCHNELL_STEPS: Final = 4
_Z_IMAGE_GUIDANCE_SCALE: Final = 5.0  # diffusers' pipeline counts from 0: it is 4 there
# Z-Image Omni reads pictures too.
_Z_IMAGE_SETTINGS: Final[Mapping[str, Any]] = {
    "all_patch_size": [_PATCH],
    "all_f_patch_size": [1],
    "siglip_feat_dim": None,
}


def check_stable_diffusion_3(parts: Any) -> None:
    """Raise CheckpointError, by name, for what it needs and nothing provides."""
    _check_needed(STABLE_DIFFUSION_3, parts)
    if (parts.text_encoder_3 is None) != (parts.tokenizer_3 is None):
        raise CheckpointError(
            "the checkpoint has only one of text_encoder_3 and tokenizer_3; legal: both, or none"
        )
    config = parts.transformer.config
    _check_channels(parts, config.in_channels, config.out_channels or config.in_channels)
    pooled = sum(
        encoder.config.projection_dim for encoder in (parts.text_encoder, parts.text_encoder_2)
    )
    _check_width("pooled_projection_dim", config.pooled_projection_dim, pooled)
    if parts.text_encoder_3 is not None:
        t5 = parts.text_encoder_3.config.d_model
        _check_width("joint_attention_dim", config.joint_attention_dim, t5)


def read_stable_diffusion_3(parts: Any) -> CheckpointTraits:
    defaults = CheckpointDefaults(scheduler="euler", guidance_scale=_SD3_GUIDANCE_SCALE)
    window = parts.transformer.config.sample_size
    return _traits(STABLE_DIFFUSION_3, parts, window, defaults=defaults)


def check_flux(parts: Any) -> None:
    """Raise CheckpointError, by name, for what it needs and nothing provides."""
    _check_needed(FLUX, parts)
    config = parts.transformer.config
    packed = _PATCH**2  # latents of a token, side by side in its channels
    given = config.out_channels or config.in_channels
    _check_channels(parts, config.in_channels / packed, given / packed)
    clip, t5 = parts.text_encoder.config.hidden_size, parts.text_encoder_2.config.d_model
    _check_width("pooled_projection_dim", config.pooled_projection_dim, clip)
    _check_width("joint_attention_dim", config.joint_attention_dim, t5)


def read_flux(parts: Any) -> CheckpointTraits:
    guided = parts.transformer.config.guidance_embeds
    defaults = (
        CheckpointDefaults(scheduler="euler", guidance_scale=_FLUX_GUIDANCE_SCALE)
        if guided  # dev
        else CheckpointDefaults(scheduler="euler", guidance_scale=1, steps=_SCHNELL_STEPS)
    )
    about = {"defaults": defaults, "guidance": guided, "negative_prompt": False}
    return _traits(FLUX, parts, _USUAL_WINDOW, **about)


def check_z_image(parts: Any) -> None:
    """Raise CheckpointError, by name, for what it needs and nothing provides."""
    _check_needed(Z_IMAGE, parts)
    config = parts.transformer.config
    for setting, legal in _Z_IMAGE_SETTINGS.items():
        found = getattr(config, setting)
        if (list(found) if isinstance(found, list | tuple) else found) != legal:
            raise CheckpointError(f"transformer.config.{setting} is {found!r}; legal: {legal!r}")
    _check_channels(parts, config.in_channels, config.in_channels)
    _check_width("cap_feat_dim", config.cap_feat_dim, parts.text_encoder.config.hidden_size)


def read_z_image(parts: Any) -> CheckpointTraits:
    defaults = CheckpointDefaults(scheduler="euler", guidance_scale=_Z_IMAGE_GUIDANCE_SCALE)
    return _traits(Z_IMAGE, parts, _USUAL_WINDOW, defaults=defaults)


def _check_needed(family: Family, parts: Any) -> None:
    for name in (*family.networks, *family.tokenizers):
        if name not in family.optional and getattr(parts, name) is None:
            raise CheckpointError(f"the checkpoint has no {name}; legal: one with all parts")


def _check_channels(parts: Any, taken: float, given: float) -> None:
    channels = parts.vae.config.latent_channels
    if {taken, given} != {channels}:
        raise CheckpointError(
            f"the transformer takes latents of {taken:g} channels and gives {given:g}, the "
            f"autoencoder's have {channels}; legal: text-to-image checkpoints, where all are equal"
        )


def _check_width(setting: str, taken: int, given: int) -> None:
    if taken != given:
        raise CheckpointError(
            f"transformer.config.{setting} is {taken}, the text encoders give {given}; use parts "
            "that belong together"
        )


def _traits(family: Family, parts: Any, window: int, **others: Any) -> CheckpointTraits:
    if window % _PATCH:
        raise CheckpointError(f"a window is {window} latents wide; legal: multiples of {_PATCH}")
    px_per_latent = 2 ** (len(parts.vae.config.block_out_channels) - 1)
    return CheckpointTraits(
        window_px=window * px_per_latent,
        px_per_latent=px_per_latent,
        family=family.name,
        **others,
    )
