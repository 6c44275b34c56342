"""Whether the parts of a Stable Diffusion checkpoint fit together, and what they make.

`parts` has the parts by their names in diffusers, each with its `config`, or None where the
checkpoint has none: a pipeline, or what `read` found in the files.
"""

from __future__ import annotations

from typing import Any, Final

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.families import STABLE_DIFFUSION, STABLE_DIFFUSION_XL
from panoweave.core.model_files.errors import CheckpointError

_RGB: Final = 3
_XL_SIZES: Final = 6  # numbers that give SDXL's UNet a window's size


def check_stable_diffusion(parts: Any) -> None:
    """Raise CheckpointError, by name, for what Stable Diffusion 1, 2 or XL needs and nothing
    provides."""
    is_xl = parts.text_encoder_2 is not None
    if is_xl and parts.tokenizer_2 is None:
        raise CheckpointError("the checkpoint has no tokenizer_2; legal: one with all parts")
    if parts.text_encoder is None:
        raise CheckpointError(
            "the checkpoint has no first text encoder, like SDXL's refiner; legal: SDXL's base"
        )
    for name in ("unet", "vae", "tokenizer"):
        if getattr(parts, name) is None:
            raise CheckpointError(f"the checkpoint has no {name}; legal: one with all parts")
    _check_unet(parts.unet.config, is_xl)
    _check_autoencoder(parts.vae.config)
    _check_text_width(parts)
    if is_xl:
        _check_sizes(parts)


def read_stable_diffusion(parts: Any) -> CheckpointTraits:
    """The sizes that the checkpoint works in. Raises CheckpointError."""
    unet, vae = parts.unet.config, parts.vae.config
    channels = (unet.in_channels, unet.out_channels, vae.latent_channels)
    if len(set(channels)) != 1:
        raise CheckpointError(
            f"the UNet takes {channels[0]} channels and gives {channels[1]}, the autoencoder's "
            f"latents have {channels[2]}; legal: text-to-image checkpoints, where all are equal"
        )
    if not isinstance(unet.sample_size, int) or unet.sample_size < 1:
        raise CheckpointError(
            f"unet.config.sample_size is {unet.sample_size!r}, not one whole number above 0"
        )
    px_per_latent = 2 ** (len(vae.block_out_channels) - 1)
    family = STABLE_DIFFUSION if parts.text_encoder_2 is None else STABLE_DIFFUSION_XL
    return CheckpointTraits(
        window_px=unet.sample_size * px_per_latent,
        px_per_latent=px_per_latent,
        family=family.name,
        negative_prompt=unet.time_cond_proj_dim is None,
    )


def _check_unet(config: Any, is_xl: bool) -> None:
    if config.addition_embed_type != ("text_time" if is_xl else None):
        raise CheckpointError(
            f"unet.config.addition_embed_type is {config.addition_embed_type!r}; legal: null "
            "with one text encoder, 'text_time' with two"
        )
    for name in ("encoder_hid_dim_type", "class_embed_type", "num_class_embeds"):
        if (found := getattr(config, name)) is not None:
            raise CheckpointError(f"unet.config.{name} is {found!r}; legal: null")


def _check_autoencoder(config: Any) -> None:
    if getattr(config, "latents_mean", None) is not None:
        raise CheckpointError("vae.config.latents_mean is set; legal: null")
    if getattr(config, "shift_factor", None):
        raise CheckpointError("vae.config.shift_factor is set; legal: null")
    for name in ("in_channels", "out_channels"):
        if (found := getattr(config, name, _RGB)) != _RGB:
            raise CheckpointError(f"vae.config.{name} is {found}; legal: {_RGB}, for pictures")


def _check_text_width(parts: Any) -> None:
    encoders = [part for part in (parts.text_encoder, parts.text_encoder_2) if part is not None]
    given = sum(encoder.config.hidden_size for encoder in encoders)
    taken = parts.unet.config.cross_attention_dim
    if {given} != set(taken if isinstance(taken, list | tuple) else [taken]):
        raise CheckpointError(
            f"unet.config.cross_attention_dim is {taken}, the text encoders give {given}; use "
            "parts that belong together"
        )


def _check_sizes(parts: Any) -> None:
    config = parts.unet.config
    width = parts.text_encoder_2.config.projection_dim + _XL_SIZES * (
        config.addition_time_embed_dim or 0
    )
    if config.projection_class_embeddings_input_dim != width:
        raise CheckpointError(
            "unet.config.projection_class_embeddings_input_dim is "
            f"{config.projection_class_embeddings_input_dim}; legal: {width} with this second text "
            "encoder"
        )
