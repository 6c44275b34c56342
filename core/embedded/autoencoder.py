"""The autoencoder: a decoder trained on the fixed latents, an encoder that is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import EncoderTiny
from numpy.typing import NDArray

from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.embedded.latents import LATENT_CHANNELS, PX_PER_LATENT, PatchPca, to_tensor
from panoweave.core.embedded.runs import Run, Schedule, descend, step_generator

_SEED = 11


@dataclass(frozen=True)
class DecoderRecipe:
    """What the decoder's run depends on."""

    steps: int = 5_600
    width: int = 48
    batch: int = 16
    crop_px: int = 64
    peak_rate: float = 1e-3
    perceptual_from: float = 0.6  # share of the steps that use L1 alone
    perceptual_weight: float = 0.15
    save_every_s: float = 120.0


# The decoder that windows are synchronised through: a tenth of the work, half the size.
TINY_RECIPE = DecoderRecipe(steps=6_000, width=32, perceptual_from=0.4, peak_rate=2e-3)


def train_decoder(
    model: AutoencoderTiny,
    pca: PatchPca,
    shards: list[NDArray[np.uint8]],
    recipe: DecoderRecipe,
    file: Path,
    stop_after: int | None = None,
) -> None:
    """L1 first, which finds the colours, then a perceptual distance too, which sharpens.

    A decoder with fewer levels than the patches need learns the pictures at its own, smaller size.
    """
    levels = len(model.config.decoder_block_out_channels)
    shrink = PX_PER_LATENT // 2 ** (levels - 1)
    optimiser = torch.optim.AdamW(model.decoder.parameters(), weight_decay=0.0)
    schedule = Schedule(recipe.steps, recipe.peak_rate)
    perceptual = load_perceptual("stlpips-alex")
    for network in (model.decoder, perceptual):
        # A quarter faster on a CPU; the weights' values are the same.
        network.to(memory_format=torch.channels_last)
    run = Run(file, {"model": model.decoder, "optimiser": optimiser}, recipe.save_every_s)

    def train_step(step: int) -> torch.Tensor:
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        pictures = _crops(shards, recipe, step_generator(_SEED, step))
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        latents = pca.encode(pictures)
        pictures = torch.nn.functional.avg_pool2d(pictures, shrink)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = model.decoder(latents)
        loss: torch.Tensor = (decoded.float() - pictures).abs().mean()
        if step >= recipe.perceptual_from * recipe.steps:
            half = recipe.batch // 2  # the distance costs more than the decoder itself
            distance = perceptual(decoded[:half].float(), pictures[:half]).mean()
            loss = loss + recipe.perceptual_weight * distance
        descend(optimiser, loss)
        return loss

    run.until(recipe.steps, train_step, stop_after)


@torch.no_grad()
def write_encoder(encoder: EncoderTiny, pca: PatchPca) -> None:
    """The encoder that gives the principal components, written down instead of trained.

    Two strided convolutions sort the pixels of 4x4 cells into 48 channels; the third takes 2x2 of
    these cells, a whole patch, to its components.
    """
    first, halve, quarter, components, last = encoder.layers
    for layer in encoder.layers:
        layer.weight.zero_()
    centre = 1  # of a 3x3 kernel; the neighbour to the right or below is one further
    for colour in range(3):
        first.weight[colour, colour, centre, centre] = 1
    first.bias.zero_()
    for layer, channels in ((halve, 3), (quarter, 12)):
        for channel, dy, dx in product(range(channels), range(2), range(2)):
            layer.weight[4 * channel + 2 * dy + dx, channel, centre + dy, centre + dx] = 1
    for colour, y, x in product(range(3), range(PX_PER_LATENT), range(PX_PER_LATENT)):
        cell = 4 * (4 * colour + 2 * (y % 2) + x % 2) + 2 * (y // 2 % 2) + x // 2 % 2
        # AutoencoderTiny shifts pictures to [0, 1] first, hence the 2 here and the sum below.
        components.weight[:LATENT_CHANNELS, cell, centre + y // 4, centre + x // 4] = (
            2 * pca.kernel[:, colour, y, x]
        )
    for channel in range(LATENT_CHANNELS):
        last.weight[channel, channel, centre, centre] = 1
    last.bias.copy_(pca.bias - pca.kernel.sum((1, 2, 3)))


def _crops(
    shards: list[NDArray[np.uint8]], recipe: DecoderRecipe, generator: torch.Generator
) -> torch.Tensor:
    """Random crops, off the patch grid too, half of them mirrored."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=generator))

    size = recipe.crop_px
    assert size % PX_PER_LATENT == 0
    crops = []
    for _ in range(recipe.batch):
        shard = shards[below(len(shards))]
        picture = shard[below(len(shard))]
        top, left = below(picture.shape[0] - size + 1), below(picture.shape[1] - size + 1)
        crop = picture[top : top + size, left : left + size]
        crops.append(crop[:, ::-1] if below(2) else crop)
    return to_tensor(np.stack(crops))
