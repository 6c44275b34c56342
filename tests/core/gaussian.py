"""The best denoiser of Gaussian latents with a spectrum like 1/f^2, dense: sums and inverses."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def covariance(size: int) -> Tensor:
    """Of all S * S latents of a window's channel (S * S, S * S)."""
    waves = torch.tensor(
        [
            [
                (math.sqrt(1 / size) if u == 0 else math.sqrt(2 / size))
                * math.cos(math.pi * u * (2 * x + 1) / (2 * size))
                for x in range(size)
            ]
            for u in range(size)
        ],
        dtype=torch.float64,
    )
    found = torch.zeros(size**2, size**2, dtype=torch.float64)
    total = 0.0
    for u in range(size):
        for v in range(size):
            wave = torch.outer(waves[u], waves[v]).flatten()
            found += torch.outer(wave, wave) / (1 + u * u + v * v)
            total += 1 / (1 + u * u + v * v)
    return found * size**2 / total


def denoiser(size: int, alpha_cumprod: float) -> Tensor:
    """M of E[x0 | z] = M z, for z = a x0 + sqrt(1 - a^2) eps: Cov(x0, z) Cov(z)^-1."""
    prior = covariance(size)
    noisy = alpha_cumprod * prior + (1 - alpha_cumprod) * torch.eye(size**2, dtype=torch.float64)
    found: Tensor = torch.linalg.solve(noisy, math.sqrt(alpha_cumprod) * prior, left=False)
    return found


def apply(matrix: Tensor, windows: Tensor) -> Tensor:
    """To each channel of windows (N, C, S, S)."""
    return (windows.flatten(2) @ matrix.T.to(windows)).view_as(windows)
