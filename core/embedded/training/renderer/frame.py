"""Geometry of the picture: its columns and rows, the fine surface, and what each pixel sees.

Images are (B, W, H) while rays are cast (columns first, as rays run along the last axis), colours
(B, 3, W, H); W and H count the samples, `supersample` to a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.grid import R_FAR, R_NEAR
from panoweave.core.embedded.training.renderer.maths import TAU, lerp
from panoweave.core.embedded.training.renderer.scene import Batch


class Frame:
    """A cylindrical panorama: azimuth per column, tangent of the elevation per row."""

    def __init__(self, batch: Batch, width: int, height: int, supersample: int):
        device = batch.device
        self.width, self.height, self.supersample = width, height, supersample
        self.columns, self.rows = width * supersample, height * supersample
        self.focal = width / TAU  # pixels
        theta = (torch.arange(self.columns, device=device) + 0.5) / self.columns * TAU
        self.theta = theta[None, :, None]  # (1, W, 1)
        self.cos, self.sin = self.theta.cos(), self.theta.sin()
        self.horizon = batch.numbers["horizon"] * height  # pixels from the top, (B, 1, 1)
        rows = (torch.arange(self.rows, device=device) + 0.5) / supersample
        self.tan = (self.horizon - rows.view(1, 1, -1)) / self.focal  # (B, 1, H)

    def row_of(self, tan: Tensor) -> Tensor:
        """Where a tangent of elevation stands in the picture, in samples from the top."""
        return (self.horizon - tan * self.focal) * self.supersample


@dataclass(frozen=True)
class Surface:
    """The land on the picture's own columns and many radii, (B, W, R), heights in metres."""

    ground: Tensor
    top: Tensor  # with small relief and distant trees, water as a plane
    with_plants: Tensor  # the ground with near plants, for shadows
    elevation: Tensor  # tangent of the elevation of `top` from the camera
    radii: Tensor  # (1, 1, R)
    log_step: float
    camera: Tensor  # its height, (B, 1, 1)

    def index_of(self, r: Tensor) -> Tensor:
        """The (fractional) index of a distance."""
        index: Tensor = (r.log() - self.radii.view(-1)[0].log()) / self.log_step
        return index

    def ground_at(self, r: Tensor) -> Tensor:
        """The ground's height at distances (B, W, H) along each column."""
        t = self.index_of(r.clamp(R_NEAR, R_FAR * 0.999)).clamp(0, self.ground.shape[-1] - 1.001)
        i = t.long()
        return lerp(self.ground.gather(-1, i), self.ground.gather(-1, i + 1), t - i)


@dataclass(frozen=True)
class Hits:
    """What the pixels below the highest skyline see, (B, W, H - first_row)."""

    first_row: int
    tan: Tensor  # (B, 1, H - first_row)
    hit: Tensor  # land or water, not sky
    is_water: Tensor
    r: Tensor
    x: Tensor
    y: Tensor
    z: Tensor  # 0 on water


def fine_radii(count: int, coarse_step: float, device: torch.device) -> tuple[Tensor, float]:
    """Distances of a fine surface over a map of step `coarse_step`, and the step of their log."""
    log_step = math.log(R_FAR / R_NEAR) / count
    index = torch.arange(count, device=device) + 0.5
    return R_NEAR * torch.exp(index * log_step - 0.5 * coarse_step)[None, None, :], log_step


def cast_rays(batch: Batch, frame: Frame, surface: Surface) -> Hits:
    """Finds what each pixel sees: a running maximum of elevation, then a binary search."""
    highest = surface.elevation.cummax(-1).values
    # No land above the highest skyline of the batch: leave those rows to the sky.
    skip = int((frame.tan > highest[..., -1].amax()).sum(-1).amin())
    first = skip // frame.supersample * frame.supersample
    tan = frame.tan[..., first:]
    count = surface.elevation.shape[-1]
    shape = (len(batch), frame.columns, tan.shape[-1])
    index = torch.searchsorted(highest, tan.expand(shape).contiguous())
    hit = index < count
    i1 = index.clamp(1, count - 1)
    i0 = i1 - 1
    e0, e1 = surface.elevation.gather(-1, i0), surface.elevation.gather(-1, i1)
    share = ((tan - e0) / (e1 - e0).clamp(min=1e-7)).clamp(0, 1)
    share = torch.where(index == 0, torch.zeros_like(share), share)
    r = surface.radii.view(-1)[i0] * torch.exp(share * surface.log_step)
    z = surface.camera + r * tan
    level = (surface.ground.gather(-1, i1) < 0.0) & (surface.ground.gather(-1, i0) < 0.05)
    is_water = hit & (batch.numbers["water"] > 0) & level
    # On flat water the distance is known exactly.
    flat = (surface.camera / (-tan).clamp(min=1e-4)).clamp(max=R_FAR)
    r = torch.where(is_water, flat, r)
    z = torch.where(is_water, torch.zeros_like(z), z)
    return Hits(first, tan, hit, is_water, r, r * frame.cos, r * frame.sin, z)
