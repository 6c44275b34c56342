"""Trains the UNet and, along with it, the text encoder, on windows encoded on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from panoweave.core.embedded.training.batches import batches
from panoweave.core.embedded.training.captions import caption
from panoweave.core.embedded.training.claims import claims_of
from panoweave.core.embedded.training.dataset import Cut, DataSet, draw_cuts
from panoweave.core.embedded.training.latents import WINDOW_PX, PatchPca, to_unit
from panoweave.core.embedded.training.networks import UNetShape
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

_SEED = 17

# A v-loss weighs x0 errors by SNR + 1. The weak components of the latents become visible at high
# SNR only, so the weight levels off late (after min-SNR, arXiv 2303.09556).
_MAX_SNR = 40.0


@dataclass(frozen=True)
class DenoiserRecipe:
    """What the run of UNet and text encoder depends on."""

    steps: int = 60_000
    shape: UNetShape = field(default_factory=UNetShape)
    batch: int = 32
    first_shard: int = 0  # a later one leaves out what an older renderer drew
    peak_rate: float = 5e-4
    decay: float = 0.3
    ema_decay: float = 0.999
    save_every_s: float = 240.0


@dataclass(frozen=True)
class Networks:
    """What is trained, and what it is trained with."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler

    def parameters(self) -> list[Any]:
        """Of the UNet, then of the text encoder: the order in which averages are saved."""
        return [*self.unet.parameters(), *self.text_encoder.parameters()]


def train_denoiser(
    networks: Networks,
    pca: PatchPca,
    data: DataSet,
    recipe: DenoiserRecipe,
    file: Path,
    stop: Stop,
    processes: int = 0,
) -> None:
    """v-prediction with a weight that levels off at high SNR.

    `processes` draw batches ahead.
    """
    device = data.device
    unet = networks.unet.to(device, memory_format=torch.channels_last)
    if device.type == "cpu":
        # For so few places, plain products are a sixth faster a step than the fused kernel.
        unet.set_attn_processor(AttnProcessor())
    # Its small layers keep a GPU waiting for the host.
    predict = torch.compile(unet) if device.type == "cuda" else unet
    text_encoder = networks.text_encoder.to(device)
    scheduler = networks.scheduler
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(device)
    parameters = networks.parameters()
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    schedule = Schedule(recipe.steps, recipe.peak_rate, warmup=250, decay=recipe.decay)
    ema = Ema(parameters, recipe.ema_decay)
    parts: dict[str, Stateful] = {
        "unet": unet,
        "text_encoder": text_encoder,
        "optimiser": optimiser,
        "ema": ema,
    }
    run = Run(file, parts, recipe.save_every_s, device)
    phases = Phases(
        file.with_suffix(".phases.json"),
        lambda: (recipe.first_shard, data.available(), recipe.batch),
    )
    facts = data.on_cpu()

    def draw(step: int, phase: Phase) -> tuple[int, list[Cut], Tensor]:
        cuts, prompts = draw_windows(facts, phase, step)
        return phase.shards, cuts, tokenise(networks.tokenizer, prompts)

    ahead = batches(draw, phases.look, range(run.step, recipe.steps), processes)

    def train_step(step: int) -> dict[str, Tensor]:
        shards, cuts, tokens = next(ahead)
        data.read(shards)
        optimiser.param_groups[0]["lr"] = schedule.rate(step) * run.warmth(step)
        latents = pca.encode(to_unit(data.pictures(cuts, WINDOW_PX)))
        tokens = tokens.to(device)
        noisy, times, target = noised_batch(scheduler, latents, step_generator(_SEED, step, device))
        with torch.autocast(device.type, torch.bfloat16):
            words = text_encoder(tokens).last_hidden_state
            (guess,) = predict(noisy, times, words, return_dict=False)
        loss = v_loss(scheduler, guess, target, times)
        descend(optimiser, loss)
        ema.update(step)
        return {"loss": loss}

    run.until(recipe.steps, train_step, stop)


def draw_windows(
    data: DataSet, phase: Phase, step: int, seed: int = _SEED
) -> tuple[list[Cut], list[str]]:
    """The windows of a step and a caption for each, the same whenever the step is taken."""
    data.read(phase.shards)
    generator = step_generator(seed + 1, step)
    cuts = draw_cuts(
        data.panoramas(phase.first, phase.shards), data.columns, phase.batch, generator
    )
    rng = np.random.default_rng([seed, step])
    return cuts, [caption_of(data, cut, rng) for cut in cuts]


def caption_of(data: DataSet, cut: Cut, rng: np.random.Generator) -> str:
    """A caption that is true of the window. Mirrored, it shows the same things."""
    subject = data.subject(cut.panorama)
    return caption(rng, claims_of(subject.window(cut.left, WINDOW_PX), subject.numbers), cut.style)


def noised_batch(
    scheduler: DDIMScheduler, latents: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (N, C, S, S) at times (N,) of their own, the times, and the v to be guessed."""
    count, timesteps = len(latents), scheduler.config.num_train_timesteps
    device = latents.device
    # One time from each of N equal parts: less spread between batches.
    spots = torch.arange(count, device=device)
    spots = spots + torch.rand(count, generator=generator, device=device)
    times = (spots / count * timesteps).long().clamp_max(timesteps - 1)
    noise = torch.randn(latents.shape, generator=generator, device=device)
    noisy = scheduler.add_noise(latents, noise, times)
    return noisy, times, scheduler.get_velocity(latents, noise, times)


def v_loss(scheduler: DDIMScheduler, guess: Tensor, target: Tensor, times: Tensor) -> Tensor:
    """The squared error of v, with a weight that levels off at high SNR."""
    weight = ((1 - scheduler.alphas_cumprod[times]) * (_MAX_SNR + 1)).clamp_max(1)
    errors = (guess.float() - target).square().mean((1, 2, 3))
    return torch.mean(errors * weight)


def tokenise(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Token numbers (N, tokens)."""
    tokens: Tensor = tokenizer(
        list(prompts), padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return tokens
