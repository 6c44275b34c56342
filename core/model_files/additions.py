"""Whether what is loaded beside a checkpoint is for it.

Of the addition the configuration is given; `parts`: as for `stable_diffusion`.
"""

from __future__ import annotations

from typing import Any

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.families import family_named
from panoweave.core.model_files.errors import CheckpointError


def check_tiny_decoder(tiny_decoder: Any, parts: Any) -> None:
    """Raise CheckpointError unless it decodes the checkpoint's latents."""
    channels, expected = tiny_decoder.latent_channels, parts.vae.config.latent_channels
    if channels != expected:
        raise CheckpointError(
            f"the tiny decoder reads latents of {channels} channels, this checkpoint's have "
            f"{expected}"
        )


def check_controlnet(controlnet: Any, parts: Any, traits: CheckpointTraits) -> None:
    """Refuse a ControlNet that is not for this UNet, or of a kind that is not supported."""
    family = family_named(traits.family)
    if not family.takes_controlnet:
        raise CheckpointError(f"{family.title} takes no ControlNet here; leave it out")
    unet = parts.unet.config
    for name in ("in_channels", "cross_attention_dim", "addition_embed_type"):
        found, expected = getattr(controlnet, name), getattr(unet, name)
        if found != expected:
            raise CheckpointError(
                f"the ControlNet is not for this checkpoint: its {name} is {found!r}, the "
                f"UNet's {expected!r}"
            )
    scale = 2 ** (len(controlnet.conditioning_embedding_out_channels) - 1)
    for what, found, legal in (
        ("conditioning_channels", controlnet.conditioning_channels, 3),
        ("global_pool_conditions", controlnet.global_pool_conditions, False),
        ("the scale of its hints", scale, traits.px_per_latent),
    ):
        if found != legal:
            raise CheckpointError(
                f"this ControlNet is not supported: {what} is {found!r}; legal: {legal!r}"
            )
