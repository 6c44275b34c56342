"""Which checkpoints are of a format that panoweave knows, and what each decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from pydantic import ValidationError

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits
from panoweave.core.diffusion.errors import CheckpointError

# What latent consistency models (arXiv 2310.04378) were distilled for.
_LCM_STEPS: Final = 8
_LCM_GUIDANCE_SCALE: Final = 8.5


def read_traits(unet: Any, vae: Any) -> CheckpointTraits:
    """Window size from the checkpoint's own configuration."""
    channels = (unet.config.in_channels, unet.config.out_channels, vae.config.latent_channels)
    if len(set(channels)) != 1:
        raise CheckpointError(
            f"the UNet takes {channels[0]} channels and gives {channels[1]}, the autoencoder's "
            f"latents have {channels[2]}; legal: text-to-image checkpoints, where all are equal"
        )
    sample_size = unet.config.sample_size
    if not isinstance(sample_size, int):
        raise CheckpointError(f"unet.config.sample_size is {sample_size!r}, not one whole number")
    px_per_latent = 2 ** (len(vae.config.block_out_channels) - 1)
    return CheckpointTraits(window_px=sample_size * px_per_latent, px_per_latent=px_per_latent)


def check_networks(unet: Any, vae: Any, text_encoder: Any, text_encoder_2: Any) -> None:
    """Refuse, by name, what a checkpoint asks for and nobody here gives it."""
    if text_encoder is None:
        raise CheckpointError(
            "the checkpoint has no first text encoder, like SDXL's refiner; legal: SDXL's base"
        )
    asked = unet.config.addition_embed_type
    given = None if text_encoder_2 is None else "text_time"
    if asked != given:
        raise CheckpointError(
            f"unet.config.addition_embed_type is {asked!r}; legal: null with one text encoder, "
            "'text_time' with two"
        )
    for name in ("encoder_hid_dim_type", "class_embed_type", "num_class_embeds"):
        if unet.config[name] is not None:
            raise CheckpointError(f"unet.config.{name} is {unet.config[name]!r}; legal: null")
    if getattr(vae.config, "latents_mean", None) is not None:
        raise CheckpointError("vae.config.latents_mean is set; legal: null")


def needs_float32(vae: Any, text_encoder_2: Any) -> bool:
    """Whether an autoencoder overflows in float16, as SDXL's own does.

    Those of Stable Diffusion 1 and 2 do not, though their configurations do not say so.
    """
    is_xl = text_encoder_2 is not None
    return is_xl and vae.dtype == torch.float16 and bool(vae.config.force_upcast)


def check_controlnet(controlnet: Any, unet: Any, px_per_latent: int) -> None:
    """Refuse one that is not for this checkpoint, or that asks for what nobody here does."""
    config = controlnet.config
    for name in ("in_channels", "cross_attention_dim", "addition_embed_type"):
        if config[name] != unet.config[name]:
            raise CheckpointError(
                f"the ControlNet is not for this checkpoint: its {name} is {config[name]!r}, the "
                f"UNet's {unet.config[name]!r}"
            )
    scale = 2 ** (len(config.conditioning_embedding_out_channels) - 1)
    for what, found, legal in (
        ("conditioning_channels", config.conditioning_channels, 3),
        ("global_pool_conditions", config.global_pool_conditions, False),
        ("the scale of its hints", scale, px_per_latent),
    ):
        if found != legal:
            raise CheckpointError(
                f"this ControlNet is not supported: {what} is {found!r}; legal: {legal!r}"
            )


def read_defaults(checkpoint: Path) -> CheckpointDefaults:
    """What a directory says of itself in its `panoweave.json`."""
    file = checkpoint / "panoweave.json"
    if not file.is_file():
        return CheckpointDefaults()
    try:
        return CheckpointDefaults.model_validate_json(file.read_text())
    except ValidationError as error:
        raise CheckpointError(f"{file}: {error}") from error


def distilled(defaults: CheckpointDefaults, unet: Any) -> CheckpointDefaults:
    """What a checkpoint that names LCM's scheduler leaves open, as its makers run it."""
    told = unet.config.time_cond_proj_dim is not None  # one that is told its guidance
    usual = CheckpointDefaults(
        scheduler="lcm", steps=_LCM_STEPS, guidance_scale=_LCM_GUIDANCE_SCALE if told else 1
    )
    said = defaults.model_dump(exclude_unset=True)
    return usual.model_copy(update=said)
