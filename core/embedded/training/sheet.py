"""Draws windows for prompts, a row each.

python -m panoweave.core.embedded.training.sheet --work DIR --out FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from panoweave.core.diffusion.decode import decode, to_pil
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.embedded.training.denoiser import Networks, tokenise
from panoweave.core.embedded.training.latents import PATCH_PX, WINDOW_PX
from panoweave.core.embedded.training.runs import Stop
from panoweave.core.embedded.training.stages import Recipe, Training

PROMPTS = (
    "a mountain lake at dawn",
    "mountains at sunset under a clear sky",
    "a pine forest in the mist in the morning",
    "an autumn forest at midday",
    "desert dunes at night under the stars",
    "a green meadow in daylight with puffy clouds",
    "the sea under a stormy sky",
    "a snowy landscape at twilight",
    "a volcano at sunset",
    "rice terraces on a clear day",
    "a red rock canyon at noon",
    "a savanna with acacia trees in the evening",
)
_LABEL_PX = 18


@torch.no_grad()
def sample_latents(
    networks: Networks, prompts: Sequence[str], *, steps: int, guidance: float, seed: int
) -> Tensor:
    """Clean latents (N, C, S, S), one for each prompt, by DDIM."""
    unet = networks.unet
    scheduler = DDIMScheduler.from_config(networks.scheduler.config)
    scheduler.set_timesteps(steps)
    encode = networks.text_encoder
    words = encode(tokenise(networks.tokenizer, prompts)).last_hidden_state
    empty = encode(tokenise(networks.tokenizer, [""])).last_hidden_state.expand_as(words)
    side = WINDOW_PX // PATCH_PX
    generator = torch.Generator().manual_seed(seed)
    shape = (len(prompts), unet.config.in_channels, side, side)
    latents = torch.randn(shape, generator=generator)
    for time in scheduler.timesteps:
        both = unet(torch.cat([latents, latents]), time, torch.cat([words, empty])).sample
        asked, unasked = both.chunk(2)
        guess = unasked + guidance * (asked - unasked)
        latents = scheduler.step(guess, time, latents).prev_sample
    return latents


@torch.no_grad()
def to_pictures(autoencoder: PatchAutoencoder, latents: Tensor) -> list[Image.Image]:
    """Decoded windows."""
    return [to_pil(picture) for picture in decode(autoencoder, latents)]


def lay_out(rows: dict[str, list[Image.Image]]) -> Image.Image:
    """One row of pictures below each label."""
    width, height = next(iter(rows.values()))[0].size
    columns = max(len(pictures) for pictures in rows.values())
    sheet = Image.new("RGB", (columns * width, len(rows) * (height + _LABEL_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for i, (label, pictures) in enumerate(rows.items()):
        top = i * (height + _LABEL_PX)
        draw.text((4, top + 1), label, fill="black", font=font)
        for j, picture in enumerate(pictures):
            sheet.paste(picture, (j * width, top + _LABEL_PX))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the sheet from the runs' averages, as far as they have come."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    training = Training(Recipe(), asked.work, torch.device("cpu"), Stop())
    networks, autoencoder = training.trained_networks(), training.trained_decoder()
    prompts = [prompt for prompt in asked.prompts for _ in range(asked.count)]
    latents = sample_latents(
        networks, prompts, steps=asked.steps, guidance=asked.guidance, seed=asked.seed
    )
    pictures = to_pictures(autoencoder, latents)
    rows = {
        prompt: pictures[i * asked.count : (i + 1) * asked.count]
        for i, prompt in enumerate(asked.prompts)
    }
    lay_out(rows).save(asked.out)


if __name__ == "__main__":
    main()
