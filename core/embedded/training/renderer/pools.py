"""Paddies and brooks: shallow still water that mirrors what stands above it in the picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.frame import Frame, Hits
from panoweave.core.embedded.training.renderer.maths import channel, lerp, smooth
from panoweave.core.embedded.training.renderer.noise import ROUGH, SOFT, Noise
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sky import Light


def paint_pools(
    batch: Batch,
    nz: Noise,
    light: Light,
    frame: Frame,
    hits: Hits,
    passes: Tensor,
    pool: Tensor,
    image: Tensor,
) -> None:
    """Mirrors `image` (B, 3, W, H) into the share `pool` of its lower rows, in place."""
    if not bool((pool > 0.01).any()):
        return
    palette = batch.colours
    skip = int((pool > 0.01).flatten(0, 1).any(0).float().argmax())
    tan, r = hits.tan[..., skip:], hits.r[..., skip:]
    ripple = nz.tex(hits.x[..., skip:], hits.y[..., skip:], 16.0, 0.0, slice(0, 2))
    up = (-tan).clamp(min=0.003) * (1.0 + 0.10 * ripple[:, ROUGH]) + 0.010
    row = frame.row_of(up)
    sway = 2.5 * frame.supersample * ripple[:, SOFT] * smooth(200, 20, r)
    column = torch.arange(frame.columns, device=batch.device).view(1, -1, 1) + 0.5 + sway
    gy = (column % frame.columns) / frame.columns * 2 - 1
    grid = torch.stack([row / frame.rows * 2 - 1, gy.expand_as(row)], -1)
    mirror = F.grid_sample(image, grid, align_corners=False, padding_mode="border").clamp(max=8.0)
    body = lerp(palette["shallow"] * 0.35, palette["soil"], 0.6)
    body = body * (light.sun * 0.2 + light.ambient) * 0.5
    share = channel(pool[..., skip:] * (0.94 - 0.35 * (up * 2.2).clamp(0, 1)))
    share = share * passes[..., skip:].mean(1, keepdim=True)
    grey = light.ambient.mean(1, keepdim=True).clamp(min=1e-4)
    bright = smooth(0.6, 1.2, mirror.mean(1, keepdim=True) / grey * 0.5)
    first = hits.first_row + skip
    mirrored = body + mirror * lerp(0.68, 0.30, bright)
    image[..., first:] = lerp(image[..., first:], mirrored, share)
