"""The best denoiser of Gaussian latents, whose Jacobian stands for a network's.

Natural pictures have power spectra that fall like 1/f^2. Of Gaussian latents x0 with such a
spectrum, seen as z = a x0 + sqrt(1 - a^2) eps, where a^2 is alpha-bar, the best estimate is
Wiener's filter, which scales each frequency f by itself:

    E[x0 | z] = D^T H D z,    H(f) = a P(f) / (a^2 P(f) + 1 - a^2)

D: the orthonormal DCT-II of both sides of a window's channel. P: the power at f = (u, v),
K / (1 + u^2 + v^2), with K such that its mean is 1, the variance of latents. Little noise passes
all, H = 1; much noise passes long waves alone, which are all that is known of x0 then.

It is linear, and D^T H D is symmetric: so it is its own Jacobian, and the transpose of that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pull_back(gradient: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """A gradient with respect to x0, both (N, C, S, S), as that with respect to z.

    All on the tensors' device, with nothing kept: CUDA graphs may record it.
    """
    size = gradient.shape[-1]
    # In float64, which costs nothing at this size: cosines of large angles lose digits.
    transform = _dct(size, gradient.device)
    power, signal = _power(size, gradient.device), alpha_cumprod.double()
    passed = signal.sqrt() * power / (signal * power + (1 - signal))
    transform, passed = transform.to(gradient), passed.to(gradient)
    frequencies = transform @ gradient @ transform.T
    return transform.T @ (passed * frequencies) @ transform


def _dct(size: int, device: torch.device) -> Tensor:
    """(frequencies, places)"""
    places = torch.arange(size, device=device, dtype=torch.float64)
    waves = torch.cos(math.pi / size * places[:, None] * (places + 0.5)) * math.sqrt(2 / size)
    return torch.cat([waves[:1] / math.sqrt(2), waves[1:]])


def _power(size: int, device: torch.device) -> Tensor:
    """Of each frequency (u, v), of a mean of 1."""
    squares = torch.arange(size, device=device, dtype=torch.float64).square()
    power = 1 / (1 + squares[:, None] + squares)
    return power / power.mean()
