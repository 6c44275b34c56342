"""Contact sheet: two panoramas of every biome, their times and weathers taking turns.

python -m panoweave.core.embedded.training.renderer.sheet OUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from panoweave.core.embedded.training.renderer.render import render
from panoweave.core.embedded.training.renderer.sampling import sample_scene
from panoweave.core.embedded.training.renderer.scene import BIOMES, TIMES, Scene

_WEATHERS = ("clear", "cloudy", "clear", "cloudy", "foggy", "clear", "stormy")
_SIZE = (640, 80)
_LABEL = 12


def scenes() -> list[Scene]:
    """24 scenes; every time of day occurs four times."""
    count = 2 * len(BIOMES)
    return [
        sample_scene(
            np.random.default_rng(i),
            BIOMES[i // 2],
            TIMES[(i + i // 6) % len(TIMES)],
            _WEATHERS[i % len(_WEATHERS)],
        )
        for i in range(count)
    ]


def draw(path: Path) -> None:
    """Renders the sheet and saves it as a PNG of 256 colours."""
    width, height = _SIZE[0], _SIZE[1] + _LABEL
    drawn = scenes()
    sheet = Image.new("RGB", (2 * width + 4, height * len(drawn) // 2), "white")
    pen = ImageDraw.Draw(sheet)
    for i, scene in enumerate(drawn):
        picture = render([scene], "cpu", 1024, 128)[0].permute(1, 2, 0).numpy()
        small = Image.fromarray(picture).resize(_SIZE, Image.Resampling.LANCZOS)
        x, y = (i % 2) * (width + 4), i // 2 * height
        sheet.paste(small, (x, y + _LABEL))
        pen.text((x + 2, y), f"{scene.biome}, {scene.time}, {scene.weather}", fill="black")
    palette = sheet.quantize(256)
    dithered = sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.save(path, optimize=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw(Path(sys.argv[1]))
