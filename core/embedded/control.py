"""Trains a ControlNet for the embedded checkpoint: edges of the rendered scenes to scenes.

    python -m panoweave.core.embedded.control --work DIR

Resumes when it is run again. The checkpoint's own networks stay as they are; the ControlNet is
written beside them, as `controlnet/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from panoweave.core.diffusion.controlnet import canny_edges
from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.captions import caption
from panoweave.core.embedded.denoiser import Ema, noised_batch, v_loss
from panoweave.core.embedded.latents import to_tensor
from panoweave.core.embedded.runs import Run, Schedule, descend, step_generator
from panoweave.core.embedded.shards import Shard, ensure_shard, subject_at
from panoweave.core.embedded.sheet import load_pipeline

FOLDER = "controlnet"
_SEED = 23


@dataclass(frozen=True)
class ControlRecipe:
    """What the run depends on.

    The committed weights took 4,600 steps: core/embedded/README.md.
    """

    steps: int = 3_000
    shards: int = 6
    scenes_per_shard: int = 1_000
    batch: int = 32
    peak_rate: float = 4e-4
    decay: float = 0.5
    ema_decay: float = 0.998
    hint_widths: tuple[int, ...] = (16, 32, 64, 96)
    # Share of empty captions, so that the network learns layout from edges.
    uncaptioned: float = 0.3
    save_every_s: float = 180.0


RECIPE = ControlRecipe()


class Windows:
    """The training pictures of all shards, by number."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *(len(shard.pictures) for shard in shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A picture (H, W, 3) and its row of subjects."""
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = number - int(self._starts[shard])
        return self._shards[shard].pictures[row], self._shards[shard].subjects[row]


def build_controlnet(unet: UNet2DConditionModel, recipe: ControlRecipe) -> ControlNetModel:
    """A copy of the UNet's first half that adds nothing yet: its last layers are zero."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=recipe.hint_widths)


def train_controlnet(
    pipeline: StableDiffusionPipeline,
    windows: Windows,
    recipe: ControlRecipe,
    file: Path,
    stop_after: int | None = None,
) -> ControlNetModel:
    """Trains the ControlNet with the UNet's loss; ends with the EMA weights."""
    for network in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        network.requires_grad_(False)
    torch.manual_seed(_SEED)
    controlnet = build_controlnet(pipeline.unet, recipe)
    parameters = list(controlnet.parameters())
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = Schedule(recipe.steps, recipe.peak_rate, decay=recipe.decay)
    ema = Ema(parameters, recipe.ema_decay)
    parts = {"controlnet": controlnet, "optimiser": optimiser, "ema": ema}
    run = Run(file, parts, recipe.save_every_s)

    def train_step(step: int) -> Tensor:
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        generator = step_generator(_SEED, step)
        pictures, prompts = _batch(windows, recipe, step, generator)
        hints = torch.cat([canny_edges(picture[None]) for picture in pictures])
        tokens = pipeline.tokenizer(
            prompts, padding="max_length", truncation=True, return_tensors="pt"
        )
        latents = pipeline.vae.encode(pictures).latents
        noisy, times, target = noised_batch(pipeline.scheduler, latents, generator)
        with torch.autocast("cpu", torch.bfloat16):
            words = pipeline.text_encoder(tokens.input_ids).last_hidden_state
            down, middle = controlnet(noisy, times, words, hints, return_dict=False)
            guess = pipeline.unet(
                noisy,
                times,
                words,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        loss = v_loss(pipeline.scheduler, guess, target, times)
        descend(optimiser, loss)
        ema.update(step)
        return loss

    run.until(recipe.steps, train_step, stop_after)
    ema.write()
    return controlnet


def _batch(
    windows: Windows, recipe: ControlRecipe, step: int, generator: torch.Generator
) -> tuple[Tensor, list[str]]:
    """Pictures (N, 3, H, W) in [-1, 1], half of them mirrored, and their captions."""
    rng = np.random.default_rng([_SEED, step])
    pictures, prompts = [], []
    for number in torch.randint(len(windows), (recipe.batch,), generator=generator).tolist():
        picture, subject = windows[number]
        pictures.append(picture[:, ::-1] if rng.random() < 0.5 else picture)
        words = caption(rng, subject_at(subject))
        prompts.append("" if rng.random() < recipe.uncaptioned else words)
    return to_tensor(np.stack(pictures)), prompts


def main(arguments: Sequence[str] | None = None, recipe: ControlRecipe = RECIPE) -> None:
    """Renders what it learns from, trains, and writes the ControlNet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="data and checkpoints (1 GB)")
    parser.add_argument("--out", type=Path, default=WEIGHTS / FOLDER, help="where it goes")
    parser.add_argument("--steps", type=int, default=recipe.steps)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    recipe = replace(recipe, steps=asked.steps)
    shards = [
        ensure_shard(asked.work / "shards", 0, index, recipe.scenes_per_shard)
        for index in range(recipe.shards)
    ]
    pipeline = load_pipeline(WEIGHTS)
    controlnet = train_controlnet(pipeline, Windows(shards), recipe, asked.work / "control.pt")
    controlnet.half().save_pretrained(asked.out)


if __name__ == "__main__":
    main()
