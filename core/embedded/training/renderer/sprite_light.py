"""Colour and light of a plant's sprite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import lerp, rgb, smooth
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sky import Light
from panoweave.core.embedded.training.renderer.sprites import CONIFER, PINE, STONE, VARIANTS
from panoweave.core.embedded.training.renderer.stands import Cells, Stand

_NUMBERS = ("sun_el", "night", "tree_snow", "conifer", "bush_grass", "sandy", "moss")
_COLOURS = (
    *("grass_a", "grass_b", "rock_a", "rock_b", "leaf_a", "leaf_b", "leaf_c"),
    *("flower", "snow", "bark"),
)


class SpriteLighter:
    """Lights samples of sprites of a batch; N columns of K rows at a time."""

    def __init__(self, batch: Batch, light: Light):
        p = batch.numbers
        # By scene, so that a column's own can be picked: (B, 1) and (3, B, 1).
        self.p = {name: p[name][:, 0] for name in _NUMBERS}
        self.palette = {name: batch.colours[name][..., 0].transpose(0, 1) for name in _COLOURS}
        low = smooth(0.28, 0.04, p["sun_el"])[:, 0]
        over = light.overcast[:, 0, 0]
        self.sun = light.sun[..., 0].transpose(0, 1)
        fill = 1 + 1.1 * low * (1 - over) * (1 - self.p["night"])
        self.ambient = light.ambient[..., 0].transpose(0, 1) * (1 + 0.9 * over) * fill

    def light(
        self,
        stand: Stand,
        scene: Tensor,
        cells: Cells,
        shadow: Tensor,
        sprite: Tensor,
        from_sun: Tensor,
    ) -> Tensor:
        """Samples of the atlas (8, N, K) -> colour (3, N, K), before haze.

        `scene` is each column's scene, (N,); `from_sun` its azimuth from the sun, (N, 1).
        """
        p = {name: value[scene] for name, value in self.p.items()}
        inv = 1 / sprite[0].clamp(min=0.03)
        side = torch.where(cells.tone > 0.5, 1.0, -1.0)
        nx, ny, nz = sprite[1] * inv * side, sprite[2] * inv, sprite[3] * inv
        occlusion, tone, bark = sprite[4] * inv, sprite[5] * inv, (sprite[6] * inv).clamp(0, 1)
        leaf = self._leaf(stand, scene, p, cells, occlusion, tone, sprite[7] * inv, ny)
        white = p["tree_snow"] * smooth(-0.2, 0.6, ny + 0.5 * (tone - 0.5))
        leaf = lerp(leaf, self.palette["snow"][:, scene], white.clamp(0, 1))
        if stand.name != "tuft":
            leaf = lerp(leaf, self.palette["bark"][:, scene] * (0.75 + 0.5 * cells.tone), bark)
        # Light in the viewer's frame: right, up, towards the viewer. Azimuth grows to the right.
        el = p["sun_el"].clamp(min=0.15)
        lx, lz = (-from_sun).sin() * el.cos(), -(from_sun.cos()) * el.cos()
        ndl = ((nx * lx + ny * el.sin() + nz * lz + 0.35) / 1.35).clamp(min=0)
        ndl = ndl * (0.35 + 0.65 * occlusion)
        back = from_sun.cos().clamp(min=0) ** 3 * 0.22 * (1 - 0.6 * p["conifer"])
        back = back * (0.3 + 0.7 * occlusion) * (1 - bark)
        direct = (ndl * (1.15 / math.pi) + back * 0.8) * shadow
        sky = (0.25 + 0.75 * occlusion) * (0.7 + 0.3 * ny)
        return leaf * (self.sun[:, scene] * direct + self.ambient[:, scene] * sky)

    def _leaf(
        self,
        stand: Stand,
        scene: Tensor,
        p: dict[str, Tensor],
        cells: Cells,
        occlusion: Tensor,
        tone: Tensor,
        flower: Tensor,
        up: Tensor,
    ) -> Tensor:
        """Reflectance of leaves, grass, flowers or stones."""
        palette = {name: value[:, scene] for name, value in self.palette.items()}
        own = cells.tone
        family = (cells.sprite / VARIANTS).floor()
        if stand.name == "tuft":
            mixed = (0.45 * own + 0.3 * tone + 0.45 * (occlusion - 0.4)).clamp(0, 1)
            leaf = lerp(palette["grass_a"] * 0.75, palette["grass_b"] * 1.12, mixed)
            leaf = lerp(leaf, palette["flower"] * (0.75 + 0.4 * tone), flower.clamp(0, 1))
        else:
            q = (0.55 * own + 0.45 * tone).clamp(0, 1) if stand.name == "tree" else tone
            leaf = lerp(palette["leaf_a"], palette["leaf_b"], smooth(0.15, 0.6, q))
            leaf = lerp(leaf, palette["leaf_c"], smooth(0.6, 0.95, q))
        if stand.name == "tree":
            green = ((family == CONIFER) | (family == PINE)) & (p["conifer"] < 0.4)
            dark = rgb(0.026, 0.048, 0.024, leaf)[0] * (0.7 + 0.7 * own)
            leaf = torch.where(green, dark, leaf)
        if stand.name == "bush":
            grassy = lerp(palette["grass_a"], palette["grass_b"], 0.6 * own) * 0.95
            leaf = lerp(leaf, grassy, p["bush_grass"] * (1 - smooth(0.0, 0.4, p["tree_snow"])))
        leaf = leaf * (0.75 + 0.5 * tone)
        if stand.name == "tree":
            return leaf
        mixed = (0.25 + 0.5 * tone + 0.3 * own).clamp(0, 1)
        rock = lerp(palette["rock_a"], palette["rock_b"], mixed)
        moss = 0.45 * smooth(0.45, 0.9, up + 0.6 * (tone - 0.5))
        rock = lerp(rock, palette["grass_a"], moss * (p["sandy"] == 0) * p["moss"])
        return torch.where(family == STONE, rock * 0.8, leaf)
