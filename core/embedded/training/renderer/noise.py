"""Gradient noise from one table of random gradients per scene, and tileable textures made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's documentation uses)
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import TAU

TABLE = 256
TEXTURE = 512
SOFT, ROUGH, PUFF, WHITE = range(4)
ALL = slice(0, 4)


class Noise:
    """Noise of a batch of scenes; drawn on the CPU, so that every device sees the same."""

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self.count = len(seeds)
        self.device = device
        self.table = torch.cat([_gradients(seed) for seed in seeds]).to(device)
        self.base = (torch.arange(self.count, device=device) * TABLE * TABLE).view(-1, 1, 1)
        self.textures = self._textures(seeds)

    def __call__(self, x: Tensor, y: Tensor, salt: int = 0, period: int = 0) -> Tensor:
        """About [-1, 1] at (B or 1, W, R) points; with `period` (a power of 2) it tiles."""
        x = x + (salt * 37.61 + 0.37 if not period else 0)
        y = y + (salt * 17.23 + 0.71 if not period else 0)
        fx, fy = x.floor(), y.floor()
        ix, iy = fx.int(), fy.int()
        x, y = x - fx, y - fy
        mask = (period or TABLE) - 1
        shift = (salt * 97) & 255 if period else 0

        def corner(dx: int, dy: int) -> Tensor:
            row = (((iy + dy) & mask) + shift) & 255
            cell = row * TABLE + ((((ix + dx) & mask) + shift) & 255)
            gradient = F.embedding(cell + self.base, self.table)
            value: Tensor = gradient[..., 0] * (x - dx) + gradient[..., 1] * (y - dy)
            return value

        a, b, c, d = corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1)
        u = x * x * x * (x * (x * 6 - 15) + 10)
        v = y * y * y * (y * (y * 6 - 15) + 10)
        value: Tensor = (a + u * (b - a) + v * (c - a) + u * v * (a - b - c + d)) * 1.5
        return value

    def fbm(self, x: Tensor, y: Tensor, octaves: int, salt: int = 0, gain: float = 0.5) -> Tensor:
        """Fractal noise: octaves, each finer by 2.03 and weaker by `gain`."""
        total = self(x, y, salt)
        amplitude = 1.0
        for octave in range(1, octaves):
            x, y = 2.03 * (0.8 * x - 0.6 * y), 2.03 * (0.6 * x + 0.8 * y)
            amplitude *= gain
            total = total + amplitude * self(x, y, salt + octave)
        return total

    def _textures(self, seeds: Sequence[int]) -> Tensor:
        """(B, 4, 513, 513): soft and rough fbm, billows, white noise; zero mean, unit spread."""
        t = torch.arange(TEXTURE, device=self.device) / TEXTURE
        grid_y, grid_x = torch.meshgrid(t, t, indexing="ij")
        x, y = grid_x[None], grid_y[None]
        soft = torch.zeros(1, device=self.device)
        rough, puff = soft, soft
        for octave in range(5):
            period = 8 << octave
            n = self(x * period, y * period, 11 + octave, period=period)
            soft = soft + n * 0.5**octave
            rough = rough + self(x * period, y * period, 31 + octave, period=period) * 0.72**octave
            puff = puff + (n.abs() * 2 - 0.6) * 0.5**octave
        white = torch.stack([_white(seed) for seed in seeds]).to(self.device)
        out = torch.stack([soft, rough, puff, white], 1)
        out = (out - out.mean((2, 3), keepdim=True)) / out.std((2, 3), keepdim=True)
        return F.pad(out, (0, 1, 0, 1), mode="circular")

    def tex(
        self, x: Tensor, y: Tensor, period: float, turn: float = 0.0, which: slice = ALL
    ) -> Tensor:
        """Textures at world points (metres), repeating every `period` metres: (B, C, W, H)."""
        if turn:
            c, s = math.cos(turn), math.sin(turn)
            x, y = c * x - s * y, s * x + c * y
        grid = torch.stack([(x / period) % 1.0, (y / period) % 1.0], -1) * 2 - 1
        grid = grid.expand(self.count, -1, -1, -1)
        return F.grid_sample(self.textures[:, which], grid, align_corners=True)

    def one(
        self, x: Tensor, y: Tensor, period: float, turn: float = 0.0, which: int = SOFT
    ) -> Tensor:
        """A single texture: (B, W, H)."""
        return self.tex(x, y, period, turn, slice(which, which + 1))[:, 0]


def _gradients(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(int(seed))
    angle = torch.rand(TABLE * TABLE, generator=generator) * TAU
    return torch.stack([angle.cos(), angle.sin()], -1)


def _white(seed: int) -> Tensor:
    return torch.randn(TEXTURE, TEXTURE, generator=torch.Generator().manual_seed(int(seed) + 7))
