"""The log-polar map about the camera: azimuth times log of distance, cells a few pixels large."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import TAU

R_NEAR, R_FAR = 10.0, 45000.0  # metres


class Grid:
    """Where the cells of a map lie. Angles in radians, lengths in metres."""

    def __init__(self, columns: int, radii: int, device: torch.device):
        self.columns, self.radii = columns, radii
        theta = (torch.arange(columns, device=device) + 0.5) / columns * TAU
        self.log_step = math.log(R_FAR / R_NEAR) / (radii - 1)
        self.r = R_NEAR * torch.exp(torch.arange(radii, device=device) * self.log_step)
        self.cos, self.sin = theta.cos()[None, :, None], theta.sin()[None, :, None]
        self.rr = self.r[None, None, :]  # (1, 1, R)
        self.x, self.y = self.rr * self.cos, self.rr * self.sin  # (1, W, R)

    def beyond(self, skip: int) -> Grid:
        """The map without its `skip` nearest radii."""
        grid = copy.copy(self)
        grid.radii = self.radii - skip
        grid.r, grid.rr = self.r[skip:], self.rr[..., skip:]
        grid.x, grid.y = self.x[..., skip:], self.y[..., skip:]
        return grid

    def gradient(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Slope of a map (B, W, R) along x and y."""
        around = torch.roll(h, -1, 1) - torch.roll(h, 1, 1)
        ht = around / (2 * TAU / self.columns * self.rr)
        hp = F.pad(h, (1, 1), mode="replicate")
        hr = (hp[..., 2:] - hp[..., :-2]) / (2 * self.log_step * self.rr)
        return self.cos * hr - self.sin * ht, self.sin * hr + self.cos * ht

    def sample(self, maps: Tensor, theta: Tensor, r: Tensor) -> Tensor:
        """Maps (B, C, W, R) at azimuths and distances (B, W, H): (B, C, W, H)."""
        pad = 2
        m = torch.cat([maps[:, :, -pad:], maps, maps[:, :, :pad]], 2)
        gy = torch.remainder(theta, TAU) / TAU * self.columns + pad
        gy = gy / m.shape[2] * 2 - 1
        gx = (r.clamp(R_NEAR, R_FAR) / R_NEAR).log() / self.log_step
        gx = (gx + 0.5) / self.radii * 2 - 1
        return F.grid_sample(
            m,
            torch.stack([gx, gy.expand_as(gx)], -1),
            align_corners=False,
            padding_mode="border",
        )


def box_blur(h: Tensor, k: int) -> Tensor:
    """Mean over (2k+1)^2 cells of a map (B, W, R); azimuth wraps around."""
    p = F.pad(h[:, None], (0, 0, k, k), mode="circular")
    p = F.pad(p, (k, k, 0, 0), mode="replicate")
    p = F.avg_pool2d(p, (2 * k + 1, 1), stride=1)
    return F.avg_pool2d(p, (1, 2 * k + 1), stride=1)[:, 0]


def widest(x: Tensor, k: int) -> Tensor:
    """(B, W) -> (B, W): the maximum over 2k+1 columns, then their mean; wraps around."""
    x = F.max_pool1d(F.pad(x[:, None], (k, k), mode="circular"), 2 * k + 1, stride=1)
    return F.avg_pool1d(F.pad(x, (k, k), mode="circular"), 2 * k + 1, stride=1)[:, 0]


def upsample(maps: Tensor, columns: int, radii: int, mode: str) -> Tensor:
    """A map (B, W, R) at the picture's columns and at many radii; azimuth wraps around."""
    pad = 4
    padded = torch.cat([maps[:, -pad:], maps, maps[:, :pad]], 1)
    count = maps.shape[1]
    up = columns // count
    size = ((count + 2 * pad) * up, radii)
    out = F.interpolate(padded[:, None], size=size, mode=mode, align_corners=False)
    return out[:, 0, pad * up : pad * up + columns]
