"""Cast shadows of the land and of plants, and the darkness of hollows."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.frame import Surface
from panoweave.core.embedded.training.renderer.grid import R_NEAR, Grid, box_blur
from panoweave.core.embedded.training.renderer.maths import TAU, lerp, smooth

Numbers = dict[str, Tensor]


def land_shadow(p: Numbers, grid: Grid, height: Tensor, steps: int = 30) -> Tensor:
    """How much of the sun each cell of the map sees, in [0, 1]: marched towards the sun."""
    h = torch.where(p["water"] > 0, height.clamp(min=0), height)
    sx, sy = p["sun_az"].cos(), p["sun_az"].sin()
    tan = p["sun_el"].clamp(min=0.11).tan()  # lower, and all but the peaks would lie in shadow
    lit = torch.ones_like(h)
    step = 0.02 * grid.rr + 4.0
    d = step
    for _ in range(steps):
        x, y = grid.x + sx * d, grid.y + sy * d
        r = (x * x + y * y).sqrt()
        seen = grid.sample(h[:, None], torch.atan2(y, x), r)[:, 0]
        gap = (h + d * tan - seen) / d
        lit = torch.minimum(lit, (gap / 0.05 + 0.5).clamp(0, 1))
        step = step * 1.17
        d = d + step
    return lit


def occlusion(grid: Grid, height: Tensor) -> Tensor:
    """Hollows are dark: height below the mean about, at three sizes; about 0.35 to 1.15."""
    out = torch.zeros_like(height)
    for k, weight in ((2, 0.9), (6, 0.8), (16, 0.6)):
        size = k * TAU / grid.columns * grid.rr
        out = out + weight * ((box_blur(height, k) - height) / size).clamp(-0.25, 0.6)
    return (1 - 0.9 * out).clamp(0.35, 1.15)


def plant_shadow(
    surface: Surface, x: Tensor, y: Tensor, z: Tensor, r: Tensor, sun: tuple[Tensor, ...]
) -> Tensor:
    """How much sun passes the plants near a point: a short march over the fine surface."""
    count, columns, radii = surface.with_plants.shape
    lx, ly, lz = sun
    level = (lx * lx + ly * ly).sqrt()
    tan = (lz / level).clamp(min=0.12)
    hx, hy = lx / level, ly / level
    flat = surface.with_plants.reshape(-1)
    base = (torch.arange(count, device=x.device) * columns * radii).view(-1, 1, 1)
    lit = torch.ones_like(x)
    d = 1.2 + 0.004 * r
    step = d
    for _ in range(9):
        px, py = x + hx * d, y + hy * d
        column = torch.remainder((torch.atan2(py, px) / TAU * columns).long(), columns)
        distance = (px * px + py * py).sqrt().clamp(min=R_NEAR)
        cell = surface.index_of(distance).round().long().clamp(0, radii - 1)
        gap = (z + 0.4 + d * tan - flat[base + column * radii + cell]) / d
        lit = torch.minimum(lit, (gap / 0.12 + 1).clamp(0, 1))
        step = step * 1.35
        d = d + step
    return lerp(lit, torch.ones_like(lit), smooth(1500, 4000, r))
