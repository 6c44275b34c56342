"""Heights of mountains, volcanoes, dunes and mesas, in metres above the plain: (B, W, R) each."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.erosion import erosion
from panoweave.core.embedded.training.renderer.grid import Grid
from panoweave.core.embedded.training.renderer.maths import lerp, smooth
from panoweave.core.embedded.training.renderer.noise import Noise

Numbers = dict[str, Tensor]

_RISE = 0.35  # share of `mountain_near`
# Turn from the first cone in radians, share of its size, share of its distance.
_CONES = ((0.0, 1.0, 1.0), (1.45, 0.72, 1.35), (2.9, 0.9, 1.1), (4.5, 0.6, 0.8))


def hills(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    """Gentle hills with finer rolls on them, lower near the camera."""
    clear = smooth(0.15, 1.0, grid.rr / p["clear"])
    size = p["hill_size"]
    rolls = nz.fbm(grid.x / size, grid.y / size, 6, 100, gain=0.42)
    return p["hill"] * rolls * (0.22 + 0.78 * clear)


def rim(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    """Higher hills all round, which close the view."""
    q = nz.fbm(grid.x / 1700, grid.y / 1700, 4, 110, gain=0.4)
    return p["rim"] * smooth(120, 2600, grid.rr) * (0.75 + 0.9 * q)


def mountains(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    """Ridges of folded noise on massifs, with gullies; nothing rises nearer than `_RISE`."""
    skip = int((grid.r < _RISE * float(p["mountain_near"].min())).sum())
    outer = grid.beyond(skip)
    return F.pad(_ridges(p, nz, outer), (skip, 0))


def _ridges(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    x, y, r, size = grid.x, grid.y, grid.rr, p["mountain_size"]
    qx, qy = x / size, y / size
    wx, wy = nz.fbm(qx * 0.7, qy * 0.7, 3, 120), nz.fbm(qx * 0.7, qy * 0.7, 3, 130)
    qx, qy = qx + 0.32 * wx, qy + 0.32 * wy
    ridge = _fold(nz(qx, qy, 140)) ** 2
    r1 = _fold(nz(qx * 2.1, qy * 2.1, 141))
    r2 = _fold(nz(qx * 4.3, qy * 4.3, 142))
    massif = smooth(-1.3, 0.15, nz.fbm(x / (2.3 * size), y / (2.3 * size), 2, 145))
    m = 0.25 * massif + ridge * (0.45 + 0.35 * r1) * massif + 0.12 * r1 * ridge + 0.06 * r2 * ridge
    rise = smooth(0.0, 1.0, (r / p["mountain_near"] - _RISE) / 1.4)
    m = m * (rise * (1 - 0.5 * smooth(12000, 40000, r)))
    h = p["mountain"] * m
    gullies = erosion(grid, h, 1100.0, 4, 150, 1.0)
    h = h + p["mountain"] * p["erosion"] * gullies * (0.25 + m)
    rough = nz.fbm(x / 160, y / 160, 4, 160, gain=0.55)
    return h + p["mountain"] * 0.014 * rough * smooth(0.02, 0.4, m) * p["rough"]


def _fold(n: Tensor) -> Tensor:
    return 1 - (n.abs() * 1.5).clamp(0, 1)


def cones(p: Numbers) -> Iterator[tuple[Tensor, Tensor, float]]:
    """The volcanoes' places (x, y in metres) and sizes, all round: most windows have one."""
    for i, (turn, size, away) in enumerate(_CONES):
        azimuth = p["volcano_a"] + turn + 0.5 * (p["wind"] + i).sin()
        distance = p["volcano_r"] * away
        yield distance * azimuth.cos(), distance * azimuth.sin(), size


def on_volcano(p: Numbers, x: Tensor, y: Tensor) -> Tensor:
    """Which points stand on the upper part of a cone."""
    on = torch.zeros_like(x, dtype=torch.bool)
    for vx, vy, size in cones(p):
        on = on | (((x - vx) ** 2 + (y - vy) ** 2) < (0.6 * p["volcano_w"] * size) ** 2)
    return on & (p["volcano"] > 0)


def volcanoes(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    """Cones with craters and gullies."""
    x, y = grid.x, grid.y
    wobble = 1 + 0.06 * nz.fbm(x / 1500, y / 1500, 3, 170)
    h = torch.zeros_like(wobble)
    near = torch.zeros_like(wobble)
    for vx, vy, size in cones(p):
        d = ((x - vx) ** 2 + (y - vy) ** 2).sqrt() * wobble / (p["volcano_w"] * size)
        cone = (1 - d).clamp(min=0) ** 2.1
        crater = smooth(0.085, 0.03, d) * 0.12
        h = torch.maximum(h, p["volcano"] * size * (cone.clamp(max=0.85) - crater))
        near = torch.maximum(near, cone)
    gullies = erosion(grid, h, 900.0, 4, 175, 1.5)
    return h + p["volcano"] * 0.05 * gullies * smooth(0.0, 0.4, near)


def dunes(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    """Crests across the wind, with smaller ones on their backs."""
    size = p["dune_size"]
    c, s = p["wind"].cos(), p["wind"].sin()
    u = (c * grid.x + s * grid.y) / size
    v = (-s * grid.x + c * grid.y) / (2.2 * size)
    warp = nz.fbm(u * 0.6, v * 0.6, 3, 180)
    u2 = u + 0.55 * warp
    n = nz(u2, v + 0.3 * warp, 183)
    large = 1.06 - ((n * n + 0.0016).sqrt() * 1.6).clamp(0, 1.06)
    n = nz(u2 * 2.7 + 3, v * 2.2, 184)
    small = 1.1 - ((n * n + 0.004).sqrt() * 1.6).clamp(0, 1.1)
    amplitude = 0.85 + 0.55 * nz(u * 0.35, v * 0.35, 185)
    d = large.pow(1.35) * amplitude + 0.16 * small.pow(1.3) * (1 - 0.5 * large)
    return p["dune"] * d * (0.35 + 0.65 * smooth(0.1, 1.0, grid.rr / p["clear"]))


def mesas(p: Numbers, nz: Noise, grid: Grid) -> Tensor:
    """Table mountains of three steps with fluted walls."""
    x, y, size = grid.x, grid.y, p["mesa_size"]
    away = grid.rr / p["mesa_near"]
    qx, qy = x / size, y / size
    w = nz.fbm(qx * 1.3, qy * 1.3, 4, 190)
    n = nz.fbm(qx + 0.35 * w, qy - 0.35 * w, 5, 195, gain=0.45)
    n = (n + 0.25 * smooth(0.3, 1.5, away) - 0.3) * smooth(0.25, 1.0, away)
    n = n + 0.025 * nz.fbm(x / 90, y / 90, 3, 199)
    m = 0.02 * w
    for level, share in ((0.05, 0.42), (0.27, 0.33), (0.47, 0.25)):
        talus, wall = smooth(level - 0.16, level, n), smooth(level, level + 0.018, n)
        m = m + share * (0.35 * talus + 0.65 * wall)
    return p["mesa"] * m


def terraced(p: Numbers, nz: Noise, grid: Grid, h: Tensor) -> Tensor:
    """The land cut into level steps, where the scene has terraces."""
    step = p["terrace"]
    q = h / step + 0.25 * nz.fbm(grid.x / 260, grid.y / 260, 3, 240)
    level = q.floor()
    cut = (level + smooth(0.72, 1.0, q - level)) * step
    cut = lerp(h, cut, smooth(0.06, 0.2, grid.rr / p["clear"]) * 0.95)
    return torch.where(step > 0, cut, h)
