"""Trains a ControlNet for the trained UNet: edges of pictures to pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from panoweave.core.diffusion.controlnet import canny_edges
from panoweave.core.embedded.training.batches import batches
from panoweave.core.embedded.training.dataset import DataSet
from panoweave.core.embedded.training.denoiser import (
    Networks,
    draw_windows,
    noised_batch,
    tokenise,
    v_loss,
)
from panoweave.core.embedded.training.latents import WINDOW_PX, PatchPca, to_unit
from panoweave.core.embedded.training.networks import build_controlnet
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

_SEED = 23


@dataclass(frozen=True)
class ControlRecipe:
    """What the run depends on."""

    steps: int = 5_000
    batch: int = 32
    first_shard: int = 0
    peak_rate: float = 4e-4
    decay: float = 0.5
    ema_decay: float = 0.998
    # As many as there are scales between the picture and its latents, plus one.
    hint_widths: tuple[int, ...] = (16, 24, 32, 64, 96)
    # Share of empty captions, so that the network learns layout from edges.
    uncaptioned: float = 0.3
    save_every_s: float = 240.0


def train_controlnet(
    networks: Networks,
    pca: PatchPca,
    data: DataSet,
    recipe: ControlRecipe,
    file: Path,
    stop: Stop,
    processes: int = 0,
) -> ControlNetModel:
    """As the UNet was trained, through it; its own networks stay as they are.

    `processes` draw batches ahead.
    """
    device = data.device
    unet = networks.unet.to(device, memory_format=torch.channels_last).requires_grad_(False)
    text_encoder = networks.text_encoder.to(device).requires_grad_(False)
    scheduler = networks.scheduler
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(device)
    torch.manual_seed(_SEED)
    controlnet = build_controlnet(unet, recipe.hint_widths).requires_grad_(True)
    controlnet = controlnet.to(device, memory_format=torch.channels_last)
    if device.type == "cpu":
        for network in (unet, controlnet):
            network.set_attn_processor(AttnProcessor())
    parameters = list(controlnet.parameters())
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    schedule = Schedule(recipe.steps, recipe.peak_rate, decay=recipe.decay)
    ema = Ema(parameters, recipe.ema_decay)
    parts: dict[str, Stateful] = {"controlnet": controlnet, "optimiser": optimiser, "ema": ema}
    run = Run(file, parts, recipe.save_every_s, device)
    phases = Phases(
        file.with_suffix(".phases.json"),
        lambda: (recipe.first_shard, data.available(), recipe.batch),
    )
    facts = data.on_cpu()

    def draw(step: int, phase: Phase) -> tuple[Tensor, Tensor, Tensor]:
        cuts, prompts = draw_windows(facts, phase, step, seed=_SEED)
        pictures = facts.pictures(cuts, WINDOW_PX)
        edges = torch.cat([canny_edges(picture[None])[:, :1] for picture in to_unit(pictures)])
        silent = torch.rand(len(prompts), generator=step_generator(_SEED + 2, step))
        prompts = [
            "" if draw < recipe.uncaptioned else prompt
            for draw, prompt in zip(silent.tolist(), prompts, strict=True)
        ]
        return pictures, edges.byte(), tokenise(networks.tokenizer, prompts)

    ahead = batches(draw, phases.look, range(run.step, recipe.steps), processes)

    def train_step(step: int) -> dict[str, Tensor]:
        pictures, edges, tokens = (part.to(device) for part in next(ahead))
        optimiser.param_groups[0]["lr"] = schedule.rate(step) * run.warmth(step)
        hints = edges.float().expand(-1, 3, -1, -1)
        latents = pca.encode(to_unit(pictures))
        generator = step_generator(_SEED, step, device)
        noisy, times, target = noised_batch(scheduler, latents, generator)
        with torch.autocast(device.type, torch.bfloat16):
            words = text_encoder(tokens).last_hidden_state
            down, middle = controlnet(noisy, times, words, hints, return_dict=False)
            guess = unet(
                noisy,
                times,
                words,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        loss = v_loss(scheduler, guess, target, times)
        descend(optimiser, loss)
        ema.update(step)
        return {"loss": loss}

    run.until(recipe.steps, train_step, stop)
    return controlnet
