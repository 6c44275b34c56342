"""Parts of four renders that the model was not trained on, kept as a file: each takes seconds.

`python -m tests.embedded.held_out` draws them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from panoweave.core.embedded.training.latents import WINDOW_PX, to_unit
from panoweave.core.embedded.training.renderer import render, sample_scene

_FILE: Final = Path(__file__).parent / "data" / "held_out.webp"
_SEED: Final = (1, 1_000_000)  # the training's seeds begin with 0
_SCENES: Final = 4
PART_PX: Final = 2 * WINDOW_PX


def held_out_parts() -> list[Image.Image]:
    """512 x 256 px each: a meadow at twilight, autumn at noon, a lake in the mist, terraces."""
    with Image.open(_FILE) as file:
        whole = file.convert("RGB")
    lefts = range(0, whole.width, PART_PX)
    return [whole.crop((left, 0, left + PART_PX, whole.height)) for left in lefts]


def held_out_windows() -> Tensor:
    """(8, 3, 256, 256) in [-1, 1]"""
    parts = np.stack([np.array(part) for part in held_out_parts()])
    halves = np.concatenate(np.split(parts, 2, axis=2))
    return to_unit(torch.from_numpy(halves).permute(0, 3, 1, 2))


def main() -> None:
    rng = np.random.default_rng(_SEED)
    scenes = [sample_scene(rng) for _ in range(_SCENES)]
    parts = [render([scene])[0, :, :, :PART_PX] for scene in scenes]
    whole = torch.cat(parts, dim=2).permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(whole)).save(_FILE, quality=92, method=6)


if __name__ == "__main__":
    main()
