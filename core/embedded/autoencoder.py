"""Trains the autoencoder: the decoder against the fixed latents, then the encoder to make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from core.diffusion.perceptual_weights import load_perceptual
from core.embedded.latents import PX_PER_LATENT, PatchPca, to_tensor
from core.embedded.runs import Run, Schedule, step_generator

_SEED_DECODER, _SEED_ENCODER = 11, 13


@dataclass(frozen=True)
class AutoencoderRecipe:
    """What the two runs of the autoencoder depend on."""

    decoder_steps: int = 6_500
    encoder_steps: int = 2_500
    width: int = 48
    batch: int = 16
    crop_px: int = 64
    peak_rate: float = 1e-3
    perceptual_from: float = 0.6  # share of the steps that use L1 alone
    perceptual_weight: float = 0.15
    save_every_s: float = 120.0


def train_decoder(
    model: AutoencoderTiny,
    pca: PatchPca,
    shards: list[NDArray[np.uint8]],
    recipe: AutoencoderRecipe,
    file: Path,
    stop_after: int | None = None,
) -> None:
    """L1 first, which finds the colours, then a perceptual distance too, which sharpens."""
    optimiser = torch.optim.AdamW(model.decoder.parameters(), weight_decay=0.0)
    schedule = Schedule(recipe.decoder_steps, recipe.peak_rate)
    perceptual = load_perceptual("stlpips-alex")
    for network in (model.decoder, perceptual):
        # A quarter faster on a CPU; the weights' values are the same.
        network.to(memory_format=torch.channels_last)
    run = Run(file, {"model": model.decoder, "optimiser": optimiser}, recipe.save_every_s)

    def train_step(step: int) -> torch.Tensor:
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        pictures = _crops(shards, recipe, step_generator(_SEED_DECODER, step))
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        latents = pca.encode(pictures)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = model.decoder(latents)
        loss: torch.Tensor = (decoded.float() - pictures).abs().mean()
        if step >= recipe.perceptual_from * recipe.decoder_steps:
            half = recipe.batch // 2  # the distance costs more than the decoder itself
            distance = perceptual(decoded[:half].float(), pictures[:half]).mean()
            loss = loss + recipe.perceptual_weight * distance
        _descend(optimiser, loss)
        return loss

    run.until(recipe.decoder_steps, train_step, stop_after)


def train_encoder(
    model: AutoencoderTiny,
    pca: PatchPca,
    shards: list[NDArray[np.uint8]],
    recipe: AutoencoderRecipe,
    file: Path,
    stop_after: int | None = None,
) -> None:
    """The encoder learns the latents of the principal components."""
    optimiser = torch.optim.AdamW(model.encoder.parameters(), weight_decay=0.0)
    schedule = Schedule(recipe.encoder_steps, recipe.peak_rate)
    run = Run(file, {"model": model.encoder, "optimiser": optimiser}, recipe.save_every_s)

    def train_step(step: int) -> torch.Tensor:
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        pictures = _crops(shards, recipe, step_generator(_SEED_ENCODER, step))
        loss: torch.Tensor = (model.encoder(pictures) - pca.encode(pictures)).abs().mean()
        _descend(optimiser, loss)
        return loss

    run.until(recipe.encoder_steps, train_step, stop_after)


def _descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = optimiser.param_groups[0]["params"]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()


def _crops(
    shards: list[NDArray[np.uint8]], recipe: AutoencoderRecipe, generator: torch.Generator
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
