"""Gullies that run down a slope and branch: stripes across the slope's direction, per octave."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.grid import Grid
from panoweave.core.embedded.training.renderer.maths import TAU, hash2, smooth


def erosion(
    grid: Grid, h: Tensor, wavelength: float, octaves: int, salt: int, steep: float
) -> Tensor:
    """Relief of about [-1, 1] for the slopes of a height map (B, W, R); 0 on flats."""
    gx, gy = grid.gradient(h)
    size = (gx * gx + gy * gy).sqrt() + 1e-6
    strength = smooth(0.03, 0.45, size * steep)
    across_x, across_y = gy / size, -gx / size
    total = torch.zeros_like(h)
    sx, sy = total, total
    amplitude, frequency = 1.0, 1.0 / wavelength
    for octave in range(octaves):
        dx, dy = across_x + 1.1 * sy, across_y - 1.1 * sx
        px = grid.x * frequency + 13.7 * octave
        py = grid.y * frequency + 5.1 * octave
        wave, slope = _stripes(px, py, dx, dy, salt + octave)
        total = total + amplitude * wave
        sx, sy = sx + amplitude * slope * dx, sy + amplitude * slope * dy
        amplitude *= 0.5
        frequency *= 2.0
    return total * strength


def _stripes(px: Tensor, py: Tensor, dx: Tensor, dy: Tensor, salt: int) -> tuple[Tensor, Tensor]:
    """Waves along (dx, dy) with a phase per cell, blended over the 16 nearest; and their slope."""
    ix, iy = px.floor(), py.floor()
    fx, fy = px - ix, py - iy
    wave = torch.zeros_like(dx)
    slope = torch.zeros_like(dx)
    weight = torch.full_like(dx, 1e-6)
    for i in (-1, 0, 1, 2):
        for j in (-1, 0, 1, 2):
            hx, hy, _ = hash2(ix + i, iy + j, salt)
            qx, qy = fx - i - hx * 0.5, fy - j - hy * 0.5
            w = (-2 * (qx * qx + qy * qy)).exp()
            phase = TAU * (qx * dx + qy * dy)
            wave = wave + phase.cos() * w
            slope = slope - phase.sin() * w
            weight = weight + w
    return wave / weight, slope / weight
