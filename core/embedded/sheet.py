"""The contact sheet: single windows, a row for each prompt.

`python -m panoweave.core.embedded.sheet` draws it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.export import NOTES
from panoweave.core.params import PanoramaParams

PROMPTS = (
    "mountains at sunset under a clear sky",
    "a calm lake below mountains at noon with clouds",
    "a pine forest in the mist at dawn",
    "an autumn forest at midday",
    "desert dunes at night under the stars",
    "a green meadow in daylight under a clear sky",
    "the sea under a stormy sky",
    "a snowy landscape at twilight",
)
_LABEL_PX = 18


def load_pipeline(model: Path) -> StableDiffusionPipeline:
    """The checkpoint in float32: a CPU is slow in float16."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        model, dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(
    pipeline: StableDiffusionPipeline,
    prompt: str,
    *,
    count: int,
    steps: int,
    guidance: float,
    seed: int,
) -> list[Image.Image]:
    """`count` single windows for one prompt."""
    pictures: list[Image.Image] = pipeline(
        [prompt] * count,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return pictures


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
    """Draws the sheet."""
    defaults = PanoramaParams(prompt=PROMPTS[0])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--guidance", type=float, default=NOTES.guidance_scale)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    pipeline = load_pipeline(asked.model)
    rows = {
        prompt: sample(
            pipeline,
            prompt,
            count=asked.count,
            steps=asked.steps,
            guidance=asked.guidance,
            seed=asked.seed + i,
        )
        for i, prompt in enumerate(asked.prompts)
    }
    lay_out(rows).save(asked.out, optimize=True)


if __name__ == "__main__":
    main()
