"""A training of all stages that takes seconds."""

from __future__ import annotations

from typing import Final

from panoweave.core.embedded.training.control import ControlRecipe
from panoweave.core.embedded.training.decoder import DecoderRecipe
from panoweave.core.embedded.training.denoiser import DenoiserRecipe
from panoweave.core.embedded.training.networks import UNetShape
from panoweave.core.embedded.training.stages import Recipe

_DECODER = DecoderRecipe(
    steps=4, widths=(3, 48, 8, 8, 8), layers=1, batch=2, perceptual_from=1, critic_from=2
)
TINY: Final = Recipe(
    shards=2,
    latent_channels=8,
    latent_shards=2,
    decoder=_DECODER,
    tiny=DecoderRecipe(
        steps=4, widths=(3, 48, 8, 8, 8), layers=1, picture_factor=2, batch=2, critic_weight=0
    ),
    denoiser=DenoiserRecipe(
        steps=4,
        shape=UNetShape(widths=(16, 32), groups=8, text_width=32, text_layers=1),
        batch=2,
    ),
    controlnet=ControlRecipe(steps=2, batch=2, hint_widths=(4, 4, 8, 8, 8)),
)
