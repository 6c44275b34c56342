"""Trains the UNet and, along with it, the text encoder, on cached latents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from panoweave.core.embedded.captions import caption
from panoweave.core.embedded.runs import Run, Schedule, State, descend, step_generator
from panoweave.core.embedded.shards import subject_at

_SEED = 17

# A v-loss weighs x0 errors by SNR + 1; above this the weight stays level (after min-SNR,
# arXiv 2303.09556), or the last, nearly clean steps would claim most of the capacity.
_MAX_SNR = 8.0


@dataclass(frozen=True)
class DenoiserRecipe:
    """What the run of UNet and text encoder depends on."""

    steps: int = 5_000
    widths: tuple[int, ...] = (80, 160, 160)
    layers: int = 1
    batch: int = 32
    peak_rate: float = 6e-4
    decay: float = 0.5
    ema_decay: float = 0.998
    save_every_s: float = 180.0


@dataclass(frozen=True)
class LatentSet:
    """Latents of every window and of its mirror image, and what the windows show."""

    latents: torch.Tensor  # (N, 2, C, S, S), float16
    subjects: NDArray[np.uint8]  # (N, 3)


class Ema:
    """An exponential moving average of parameters, shorter at the start of a run."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.live = list(parameters)
        self.average = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average towards the parameters as they are now."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.live], share)

    @torch.no_grad()
    def write(self) -> None:
        """Puts the average in the place of the parameters."""
        for parameter, average in zip(self.live, self.average, strict=True):
            parameter.copy_(average)

    def state_dict(self) -> State:
        """The average, by position."""
        return {str(i): average for i, average in enumerate(self.average)}

    def load_state_dict(self, state_dict: State) -> None:
        """What `state_dict` gave."""
        for i, average in enumerate(self.average):
            average.copy_(state_dict[str(i)])


def train_denoiser(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    data: LatentSet,
    recipe: DenoiserRecipe,
    file: Path,
    stop_after: int | None = None,
) -> None:
    """v-prediction with a weight that levels off at high SNR; ends with the EMA weights."""
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = Schedule(recipe.steps, recipe.peak_rate, decay=recipe.decay)
    ema = Ema(parameters, recipe.ema_decay)
    parts = {"unet": unet, "text_encoder": text_encoder, "optimiser": optimiser, "ema": ema}
    run = Run(file, parts, recipe.save_every_s)

    def train_step(step: int) -> torch.Tensor:
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        generator = step_generator(_SEED, step)
        latents, prompts = _batch(data, recipe.batch, step, generator)
        tokens = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")
        noisy, times, target = noised_batch(scheduler, latents, generator)
        with torch.autocast("cpu", torch.bfloat16):
            words = text_encoder(tokens.input_ids).last_hidden_state
            guess = unet(noisy, times, words).sample
        loss = v_loss(scheduler, guess, target, times)
        descend(optimiser, loss)
        ema.update(step)
        return loss

    run.until(recipe.steps, train_step, stop_after)
    ema.write()


def noised_batch(
    scheduler: DDIMScheduler, latents: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (N, C, S, S) at times (N,) of their own, the times, and the v to be guessed."""
    count, timesteps = len(latents), scheduler.config.num_train_timesteps
    # One time from each of N equal parts: less spread between batches.
    spots = torch.arange(count) + torch.rand(count, generator=generator)
    times = (spots / count * timesteps).long().clamp_max(timesteps - 1)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = scheduler.add_noise(latents, noise, times)
    return noisy, times, scheduler.get_velocity(latents, noise, times)


def v_loss(
    scheduler: DDIMScheduler, guess: torch.Tensor, target: torch.Tensor, times: torch.Tensor
) -> torch.Tensor:
    """The squared error of v, with a weight that levels off at high SNR."""
    weight = ((1 - scheduler.alphas_cumprod[times]) * (_MAX_SNR + 1)).clamp_max(1)
    errors = (guess.float() - target).square().mean((1, 2, 3))
    return torch.mean(errors * weight)


def _batch(
    data: LatentSet, size: int, step: int, generator: torch.Generator
) -> tuple[torch.Tensor, list[str]]:
    rows = torch.randint(len(data.latents), (size,), generator=generator)
    mirrored = torch.randint(2, (size,), generator=generator)
    rng = np.random.default_rng([_SEED, step])
    prompts = [caption(rng, subject_at(data.subjects[int(row)])) for row in rows]
    return data.latents[rows, mirrored].float(), prompts
