"""Colour and light of a plant's sprite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.embedded.training.renderer.maths import channel, lerp, rgb, smooth
from core.embedded.training.renderer.scene import Batch
from core.embedded.training.renderer.sky import Light
from core.embedded.training.renderer.sprites import CONIFER, PINE, STONE, VARIANTS
from core.embedded.training.renderer.stands import Cells, Stand


def light_sprite(
    batch: Batch,
    light: Light,
    stand: Stand,
    cells: Cells,
    shadow: Tensor,
    sprite: Tensor,
    side: Tensor,
    from_sun: Tensor,
) -> Tensor:
    """Samples of the atlas (B, 8, W, H) -> colour (B, 3, W, H), before haze.

    `side` is -1 where the sprite is flipped, `from_sun` the azimuth from the sun; (B, W, 1) each.
    """
    p, palette = batch.numbers, batch.colours
    inv = 1 / sprite[:, :1].clamp(min=0.03)
    nx, ny, nz = sprite[:, 1:2] * inv * channel(side), sprite[:, 2:3] * inv, sprite[:, 3:4] * inv
    occlusion, tone, bark = sprite[:, 4:5] * inv, sprite[:, 5:6] * inv, sprite[:, 6:7] * inv
    bark = bark.clamp(0, 1)
    leaf = _leaf(batch, stand, cells, occlusion, tone, sprite[:, 7:8] * inv, ny)
    white = p["tree_snow"].unsqueeze(1) * smooth(-0.2, 0.6, ny + 0.5 * (tone - 0.5))
    leaf = lerp(leaf, palette["snow"], white.clamp(0, 1))
    albedo = lerp(leaf, palette["bark"] * (0.75 + 0.5 * channel(cells.tone)), bark)
    # Light in the viewer's frame: right, up, towards the viewer. Azimuth grows to the right.
    el = p["sun_el"].clamp(min=0.15)
    lx, lz = (-from_sun).sin() * el.cos(), -(from_sun.cos()) * el.cos()
    ndl = nx * channel(lx) + ny * channel(el.sin()) + nz * channel(lz)
    ndl = ((ndl + 0.35) / 1.35).clamp(min=0) * (0.35 + 0.65 * occlusion)
    back = channel(from_sun.cos().clamp(min=0)) ** 3 * 0.22 * (0.3 + 0.7 * occlusion)
    back = back * (1 - 0.6 * p["conifer"].unsqueeze(1))
    sunlit = channel(shadow)
    direct = ndl * sunlit / math.pi * 1.15 + back * sunlit * (1 - bark) * 0.8
    low = smooth(0.28, 0.04, p["sun_el"]).unsqueeze(1)
    fill = 1 + 1.1 * low * (1 - light.overcast) * (1 - p["night"].unsqueeze(1))
    sky = (0.25 + 0.75 * occlusion) * (0.7 + 0.3 * ny) * (1 + 0.9 * light.overcast) * fill
    return albedo * (light.sun * direct + light.ambient * sky)


def _leaf(
    batch: Batch,
    stand: Stand,
    cells: Cells,
    occlusion: Tensor,
    tone: Tensor,
    flower: Tensor,
    up: Tensor,
) -> Tensor:
    """Reflectance of leaves, grass, flowers or stones."""
    p, palette = batch.numbers, batch.colours
    own = channel(cells.tone)
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
        dark = rgb(0.026, 0.048, 0.024, leaf) * (0.7 + 0.7 * own)
        leaf = torch.where(channel(green), dark, leaf)
    if stand.name == "bush":
        grassy = lerp(palette["grass_a"], palette["grass_b"], 0.6 * own) * 0.95
        bare = 1 - smooth(0.0, 0.4, p["tree_snow"].unsqueeze(1))
        leaf = lerp(leaf, grassy, p["bush_grass"].unsqueeze(1) * bare)
    leaf = leaf * (0.75 + 0.5 * tone)
    if stand.name == "tree":
        return leaf
    mixed = (0.25 + 0.5 * tone + 0.3 * own).clamp(0, 1)
    rock = lerp(palette["rock_a"], palette["rock_b"], mixed)
    moss = 0.45 * smooth(0.45, 0.9, up + 0.6 * (tone - 0.5))
    moss = moss * (p["sandy"].unsqueeze(1) == 0) * p["moss"].unsqueeze(1)
    rock = lerp(rock, palette["grass_a"], moss)
    return torch.where(channel(family == STONE), rock * 0.8, leaf)
