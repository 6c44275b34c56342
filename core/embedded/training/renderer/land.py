"""The height map of a scene, kept low enough that some sky stays above it."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import relief, shores
from panoweave.core.embedded.training.renderer.grid import Grid, widest
from panoweave.core.embedded.training.renderer.maths import lerp, smooth
from panoweave.core.embedded.training.renderer.noise import Noise
from panoweave.core.embedded.training.renderer.scene import Batch


def height_map(batch: Batch, nz: Noise, grid: Grid) -> Tensor:
    """Heights in metres, (B, W, R); water lies at 0 in scenes that have it."""
    p = batch.numbers
    h = p["base"] + relief.hills(p, nz, grid)
    if batch.has("rim"):
        h = h + relief.rim(p, nz, grid)
    if batch.has("mountain"):
        h = h + relief.mountains(p, nz, grid)
    if batch.has("volcano"):
        h = h + relief.volcanoes(p, nz, grid)
    if batch.has("dune"):
        h = h + relief.dunes(p, nz, grid)
    if batch.has("mesa"):
        h = h + relief.mesas(p, nz, grid)
    if batch.has("lake"):
        h = shores.lake(p, nz, grid, h)
    if batch.has("coast"):
        h = shores.coast(p, nz, grid, h)
    if batch.has("terrace"):
        h = relief.terraced(p, nz, grid, h)
    return _fit_skyline(p, nz, grid, h)


def _fit_skyline(p: dict[str, Tensor], nz: Noise, grid: Grid, h: Tensor) -> Tensor:
    """Scales what stands above eye level so that the skyline is about `skyline` (a tangent) high.

    `lift` bounds how much far summits may grow. Nothing rises above about 23 degrees.
    """
    r = grid.rr
    feet = h[:, :, :1].amax(1, keepdim=True)
    eye = torch.where(p["water"] > 0, feet.clamp(min=0), feet) + p["eye"]
    # Some directions rise higher than others.
    zero = 0 * r[..., :1]
    around = nz.fbm(grid.cos * 1.6 + zero, grid.sin * 1.6 + zero, 3, 260)
    skyline = p["skyline"] * (0.97 + 0.30 * around).clamp(0.7, 1.15)
    e = (h - eye) / r
    peak = widest(e[..., grid.r > 120.0].amax(2), grid.columns // 22)[..., None]
    scale = (skyline / peak.clamp(min=1e-3)).clamp(max=1.0)
    tops = torch.where(r > 2200, e, torch.full_like(e, -1.0)).amax(2).clamp(min=0.02)
    tops = widest(tops, grid.columns // 34)[..., None]
    lift = torch.minimum(skyline / tops, p["lift"]).clamp(min=1.0)
    scale = scale * lerp(torch.ones_like(lift), lift, smooth(1200, 3500, r))
    e = torch.where(e > 0, e * scale, e)
    knee, room = 0.35, 0.07
    soft = knee + room * (1 - (-(e - knee) / room).exp())
    return eye + r * torch.where(e > knee, soft, e)
