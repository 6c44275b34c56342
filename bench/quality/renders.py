"""Renders that the model was not trained on, kept in a folder and made as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from bench.quality.labels import Labels, labels_of_window
from panoweave.core.embedded.training.claims import claims_of
from panoweave.core.embedded.training.latents import WINDOW_PX
from panoweave.core.embedded.training.rendering import REVISION, render_shard
from panoweave.core.embedded.training.shards import read_shard, shard_folder

# The first number of a scene's seed. The training draws its scenes from 0.
HELD_OUT_SEED: Final = 1

# Writes the shard of this number, of one panorama, into the folder.
Draw = Callable[[Path, int], None]


@dataclass(frozen=True)
class Render:
    """A panorama all around, and what each of its windows shows."""

    image: Image.Image
    labels: Sequence[Labels]


@dataclass(frozen=True)
class HeldOut:
    """The first `count` held-out renders."""

    folder: Path
    count: int
    draw: Draw

    def make(self, progress: Callable[[Iterable[int]], Iterable[int]]) -> list[Render]:
        """Read where they are there, drawn where not."""
        return [self._ensure(index) for index in progress(range(self.count))]

    def _ensure(self, index: int) -> Render:
        if not shard_folder(self.folder, index).exists():
            self.draw(self.folder, index)
        shard = read_shard(self.folder, index)
        picture, subject = shard.pictures[0], shard.subjects[0]
        _, side, width = picture.shape
        return Render(
            Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))),
            [
                labels_of_window(claims_of(subject.window(left, side), subject.numbers))
                for left in range(0, width, side)
            ],
        )


def held_out(folder: Path, count: int, window_px: int, device: torch.device) -> HeldOut:
    """Renders for a model with windows of this size. A GPU draws them in a fraction of the time."""
    if window_px != WINDOW_PX:
        raise SystemExit(
            f"--reference renders: the model's windows are {window_px} px, and the renderer's are "
            f"{WINDOW_PX} px; --reference singles compares with windows that the model makes alone"
        )
    draws_on = device if device.type == "cuda" else torch.device("cpu")

    def draw(folder: Path, index: int) -> None:
        render_shard(folder, HELD_OUT_SEED, index, 1, draws_on)

    return HeldOut(folder / f"panoramas-{REVISION}", count, draw)
