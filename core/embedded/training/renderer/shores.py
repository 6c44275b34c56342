"""Lakes and coasts: land that dips below sea level (height 0)."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.grid import Grid
from panoweave.core.embedded.training.renderer.maths import smooth
from panoweave.core.embedded.training.renderer.noise import Noise

Numbers = dict[str, Tensor]


def lake(p: Numbers, nz: Noise, grid: Grid, h: Tensor) -> Tensor:
    """A shore that wanders about its radius, and land near the camera at some azimuths."""
    x, y, r = grid.x, grid.y, grid.rr
    zero = 0 * r
    w = nz.fbm(x / 420, y / 420, 5, 200)
    big = nz(grid.cos * 1.3 + zero, grid.sin * 1.3 + zero, 206)
    shore = p["lake_r"] * (1 + 0.55 * big)
    off = smooth(0.55, 1.35, r / shore + 0.16 * w)
    around = nz.fbm(grid.cos * 0.8 + zero, grid.sin * 0.8 + zero, 3, 210, gain=0.35)
    near = p["lake_near"] * (0.8 + 1.5 * around)
    wn = nz.fbm(x / 40, y / 40, 4, 214)
    land = smooth(1.5, 0.7, (r / near.clamp(min=1.0)) + 0.26 * wn) * (p["lake_near"] > 0)
    bed = -14 + 30 * off + (15.3 + 0.5 * wn + 1.2 * smooth(0.6, 1.0, land)) * land
    bed = bed + (h - p["base"]) * (0.02 + 0.98 * off) + 1.5 * w * (off + 0.4)
    return torch.where(p["lake"] > 0, bed, h)


def coast(p: Numbers, nz: Noise, grid: Grid, h: Tensor) -> Tensor:
    """Open sea on one side, a shore with cliffs on the other; the camera at sea or ashore."""
    x, y, r, size = grid.x, grid.y, grid.rr, p["coast_size"]
    w = nz.fbm(x / size, y / size, 6, 220, gain=0.5)
    side = (x * p["wind"].cos() + y * p["wind"].sin() - p["clear"]) / 2200
    inland = 0.55 * w + p["coast_bias"] + side.clamp(-0.8, 0.6)
    inland = inland - 0.8 * smooth(0.8, 0.1, r / p["clear"])
    # From the land: the shore runs past the camera, straighter near it.
    past = (x * p["wind"].cos() + y * p["wind"].sin() + p["shore"]) / (260.0 + 0.55 * r)
    bays = 0.10 * nz.fbm(x / 90, y / 90, 4, 236) * smooth(15, 120, r)
    ashore = past.clamp(-0.7, 0.6) + bays + 0.5 * w * smooth(150, 2500, r)
    inland = torch.where(p["ashore"] > 0, ashore, inland) - 0.4 * smooth(6000, 25000, r)
    cliff = p["cliff"] * (0.55 + 0.6 * nz.fbm(x / 1800, y / 1800, 2, 230)).clamp(min=0.03)
    gully = 0.035 * nz.fbm(x / 70, y / 70, 4, 235, gain=0.6)
    wall = smooth(0.03, 0.075, inland + gully) * cliff + smooth(0.0, 0.9, inland) * cliff * 1.6
    shore = -12 + 13.5 * smooth(-0.06, 0.05, inland + 0.3 * gully) + wall
    return torch.where(p["coast"] > 0, shore + (h - p["base"]) * smooth(0.05, 0.5, inland), h)
