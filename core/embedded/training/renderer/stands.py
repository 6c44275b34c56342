"""Plants that are drawn one by one: a polar lattice of rings around the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import TAU, hash2
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sprites import VARIANTS

Numbers = dict[str, Tensor]


@dataclass(frozen=True)
class Cells:
    """The plant that may stand at each column, (B, W, 1) each."""

    azimuth: Tensor
    distance: Tensor  # metres
    tall: Tensor  # metres
    chance: Tensor  # it stands where the density is above this
    sprite: Tensor  # index in the atlas
    tone: Tensor  # random in [0, 1)


class Stand:
    """Rings of cells from `near` to `far` metres, each `growth` times as far as the one before."""

    def __init__(self, name: str, salt: int, near: float, far: float, growth: float):
        self.name, self.salt, self.growth = name, salt, growth
        count = int(math.log(far / near) / math.log(growth)) + 1
        self.radii = [near * growth**i for i in range(count)]

    def cells(self, p: Numbers, ring: int, theta: Tensor, side: int) -> Cells:
        """The plant in the nearest (side 0) or the next nearest (side 1) cell of a ring."""
        radius = self.radii[ring]
        count = (TAU * radius / (0.85 * p[self.name + "_gap"])).round().clamp(min=8)
        cell = (theta / TAU * count - 0.5).floor() + side
        around = torch.remainder(cell, count)
        place = torch.full_like(around, ring)
        seed = p["seed"].int()
        a, b, d = hash2(around + seed % 9973, place, self.salt)
        e, g, _ = hash2(around + 5000 + seed % 7919, place, self.salt + 1)
        mixed = torch.where(
            g < p[self.name + "_mix"], p[self.name + "_kind2"], p[self.name + "_kind"]
        )
        return Cells(
            azimuth=(cell + 0.5 + (a - 0.5) * 0.95) / count * TAU,
            distance=radius * self.growth ** (1.9 * (b - 0.5)),
            tall=p[self.name + "_tall"] * (0.34 + 0.95 * d**1.3),
            chance=(e * 13.7 + g * 3.1) % 1.0,
            # The last variant is rare (dead trees, odd ones).
            sprite=mixed * VARIANTS + (e * 4.25).floor(),
            tone=g,
        )


TYPICAL_HEIGHT = {"tree": 12.0, "bush": 1.8, "tuft": 0.8}  # metres, to choose a sprite's size


def stands_of(batch: Batch) -> list[Stand]:
    """The stands that some scene of the batch needs."""
    stands = []
    if any(s.numbers["forest"] > 0 and s.numbers["tree_dense"] > 0 for s in batch.scenes):
        stands.append(Stand("tree", 21, 34.0, 430.0, 1.115))
    if batch.has("tuft_dense", "stone", "flowers") or any(
        s.numbers["path"] == 3 for s in batch.scenes
    ):
        stands.append(Stand("tuft", 81, 10.5, 85.0, 1.085))
    if batch.has("bush_dense"):
        stands.append(Stand("bush", 51, 22.0, 420.0, 1.125))
    return stands
