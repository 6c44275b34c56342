"""Small functions that every part of the renderer uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TAU = 2 * math.pi
Number = Tensor | float


def smooth(low: Number, high: Number, x: Tensor) -> Tensor:
    """0 where x is at `low`, 1 at `high`, an S-curve between; `low` may be above `high`."""
    t: Tensor = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def lerp(a: Number, b: Number, t: Number) -> Tensor:
    """From `a` at t = 0 to `b` at t = 1."""
    mixed = a + (b - a) * t
    assert isinstance(mixed, Tensor)
    return mixed


def channel(x: Tensor) -> Tensor:
    """(B, W, H) -> (B, 1, W, H), so that it multiplies colours."""
    return x.unsqueeze(1)


def rgb(red: float, green: float, blue: float, like: Tensor) -> Tensor:
    """A colour as (1, 3, 1, 1) on the device of `like`."""
    return torch.tensor([red, green, blue], device=like.device).view(1, 3, 1, 1)


def hash2(ix: Tensor, iy: Tensor, salt: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three random numbers in [0, 1) for each integer cell."""
    h = ix.int() * 73856093 ^ iy.int() * 19349663 ^ (salt * 83492791 & 0x7FFFFFFF)
    h = (h ^ (h >> 13)) * 1274126177
    h = h ^ (h >> 16)
    h2 = (h * 668265263) ^ (h >> 11)
    a = (h & 1023).float() / 1024
    b = ((h >> 10) & 1023).float() / 1024
    c = ((h2 >> 9) & 1023).float() / 1024
    return a, b, c
