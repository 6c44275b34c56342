"""Trains a decoder of the fixed latents: L1, then a perceptual distance, then a critic too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.embedded.training.critic import Critic, critic_loss, realism_loss
from panoweave.core.embedded.training.dataset import DataSet, draw_cuts
from panoweave.core.embedded.training.latents import PatchPca, to_unit, write_components
from panoweave.core.embedded.training.runs import (
    Ema,
    Phase,
    Phases,
    Run,
    Schedule,
    Stateful,
    Stop,
    descend,
    step_generator,
)

_SEED = 11
_LINEAR_SHARE = 0.05  # of the learning rate


@dataclass(frozen=True)
class DecoderRecipe:
    """What the decoder's run depends on."""

    steps: int = 10_000
    widths: tuple[int, ...] = (3, 48, 96, 112, 128)
    layers: int = 3
    picture_factor: int = 1
    batch: int = 8
    first_shard: int = 0
    # Crops are as high as a window, so that the decoder learns the picture's edges as they are.
    crop_width: int = 96
    peak_rate: float = 1e-3
    decay: float = 0.4
    perceptual_from: int = 600
    perceptual_weight: float = 0.25
    critic_from: int = 5_000
    critic_weight: float = 0.02
    # Sampled latents are not as exact as encoded ones.
    latent_noise: float = 0.1
    ema_decay: float = 0.998
    save_every_s: float = 180.0


# The decoder that windows are synchronised through: a tenth of the work, a quarter of the size.
TINY_RECIPE = DecoderRecipe(
    steps=6_000,
    widths=(3, 48, 24, 48, 80),
    layers=1,
    picture_factor=2,
    batch=16,
    peak_rate=2e-3,
    critic_weight=0.0,
)


def build_autoencoder(recipe: DecoderRecipe, pca: PatchPca) -> PatchAutoencoder:
    """The encoder is known; the decoder begins as its linear inverse."""
    model: PatchAutoencoder = PatchAutoencoder(
        latent_channels=len(pca.kernel),
        block_out_channels=recipe.widths,
        layers_per_block=recipe.layers,
        picture_factor=recipe.picture_factor,
    )
    write_components(model, pca)
    return model


def train_decoder(
    model: PatchAutoencoder,
    pca: PatchPca,
    data: DataSet,
    recipe: DecoderRecipe,
    file: Path,
    stop: Stop,
) -> None:
    """From latents with a little noise to the pictures they were made of."""
    device = data.device
    decoder = model.decoder.to(device)
    critic = Critic().to(device)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(decoder.correction.parameters()), "share": 1.0},
            # It begins at its best, and its weights are small.
            {"params": list(decoder.linear.parameters()), "share": _LINEAR_SHARE},
        ],
        betas=(0.9, 0.99),
        weight_decay=0.0,
        fused=True,
    )
    critic_optimiser = torch.optim.AdamW(
        critic.parameters(), betas=(0.5, 0.99), weight_decay=0.0, fused=True
    )
    schedule = Schedule(recipe.steps, recipe.peak_rate, decay=recipe.decay)
    ema = Ema(decoder.parameters(), recipe.ema_decay)
    perceptual = load_perceptual("stlpips-alex").to(device)
    for network in (decoder, critic, perceptual):
        # A quarter faster on a CPU; the weights' values are the same.
        network.to(memory_format=torch.channels_last)
    parts: dict[str, Stateful] = {
        "model": decoder,
        "optimiser": optimiser,
        "ema": ema,
        "critic": critic,
        "critic_optimiser": critic_optimiser,
    }
    run = Run(file, parts, recipe.save_every_s, device)
    phases = Phases(
        file.with_suffix(".phases.json"),
        lambda: (recipe.first_shard, data.available(), recipe.batch),
    )

    def train_step(step: int) -> dict[str, Tensor]:
        phase = phases.look(step)
        data.read(phase.shards)
        rate = schedule.rate(step) * run.warmth(step)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]
        pictures, latents = _batch(data, pca, phase, recipe, step)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = decoder(latents)
        decoded = decoded.float()
        losses = {"l1": (decoded - pictures).abs().mean()}
        loss = losses["l1"]
        if step >= recipe.perceptual_from:
            half = recipe.batch // 2  # the distance costs as much as the decoder itself
            losses["stlpips"] = perceptual(decoded[:half], pictures[:half]).mean()
            loss = loss + recipe.perceptual_weight * losses["stlpips"]
        if recipe.critic_weight and step >= recipe.critic_from:
            # The critic learns first for a while, from a decoder that does not heed it.
            heed = min(1.0, (step - recipe.critic_from) / 500)
            critic_optimiser.param_groups[0]["lr"] = 0.3 * rate
            losses["critic"] = critic_loss(critic, pictures, decoded.detach())
            descend(critic_optimiser, losses["critic"])
            losses["realism"] = realism_loss(critic, pictures, decoded)
            loss = loss + heed * recipe.critic_weight * losses["realism"]
        descend(optimiser, loss)
        ema.update(step)
        return losses

    run.until(recipe.steps, train_step, stop)


def _batch(
    data: DataSet, pca: PatchPca, phase: Phase, recipe: DecoderRecipe, step: int
) -> tuple[Tensor, Tensor]:
    """Pictures in [-1, 1] of the decoder's size, and latents with some noise."""
    generator = step_generator(_SEED, step)
    cuts = draw_cuts(
        data.panoramas(phase.first, phase.shards), data.columns, phase.batch, generator
    )
    pictures = to_unit(data.pictures(cuts, recipe.crop_width))
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    latents = pca.encode(pictures)
    amount = recipe.latent_noise * torch.rand(len(latents), 1, 1, 1, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    latents = latents + (amount * noise).to(latents.device)
    if recipe.picture_factor > 1:
        pictures = nn.functional.avg_pool2d(pictures, recipe.picture_factor)
    return pictures, latents
