"""Finished renders in another manner: ink wash, poster, pastel, pixel art. Deterministic.

Pictures are uint8 (B, 3, H, W) panoramas; their columns wrap around, and so do the styles.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import lerp, rgb, smooth

_GRAIN_SEED = 20


def apply_style(pictures: Tensor, style: str) -> Tensor:
    """Renders (B, 3, H, W) in one of `STYLES`, of the same shape and type."""
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    styled = STYLES[style](pictures.float() / 255).clamp(0, 1)
    return (styled * 255 + 0.5).to(torch.uint8)


def _pad(x: Tensor, k: int) -> Tensor:
    """Columns wrap around, rows repeat their edge."""
    return F.pad(F.pad(x, (k, k, 0, 0), mode="circular"), (0, 0, k, k), mode="replicate")


def _blur(x: Tensor, k: int, times: int = 2) -> Tensor:
    for _ in range(times):
        x = F.avg_pool2d(_pad(x, k), 2 * k + 1, stride=1)
    return x


def _brush(x: Tensor, k: int) -> Tensor:
    """Kuwahara filter: each pixel takes the mean of its calmest quarter; flat dabs, sharp edges."""
    size = k + 1
    padded = _pad(x, k)
    mean = F.avg_pool2d(padded, size, stride=1)
    square = F.avg_pool2d(padded * padded, size, stride=1)
    spread = (square - mean * mean).sum(1, keepdim=True)
    height, width = x.shape[2:]
    corners = [(i, j) for i in (0, k) for j in (0, k)]
    means = torch.stack([mean[..., i : i + height, j : j + width] for i, j in corners])
    spreads = torch.stack([spread[..., i : i + height, j : j + width] for i, j in corners])
    calmest = spreads.argmin(0, keepdim=True).expand(-1, -1, 3, -1, -1)
    return means.gather(0, calmest)[0]


def _edges(lum: Tensor) -> Tensor:
    """Strength of outlines in [0, 1] from a luminance (B, 1, H, W)."""
    p = _pad(lum, 1)
    gx = p[..., 1:-1, 2:] - p[..., 1:-1, :-2]
    gy = p[..., 2:, 1:-1] - p[..., :-2, 1:-1]
    return smooth(0.10, 0.42, (gx * gx + gy * gy).sqrt())


def _grain(x: Tensor, k: int) -> Tensor:
    """Paper: the same noise for every picture, (1, 1, H, W), about zero."""
    generator = torch.Generator().manual_seed(_GRAIN_SEED)
    noise = torch.randn(1, 1, *x.shape[2:], generator=generator).to(x.device)
    soft = _blur(noise, k, 1) if k else noise
    return soft / soft.std()


def _luminance(x: Tensor) -> Tensor:
    return (x * rgb(0.25, 0.6, 0.15, x)).sum(1, keepdim=True)


def _ink_wash(x: Tensor) -> Tensor:
    """Grey washes on warm paper, darker outlines."""
    lum = _luminance(_brush(x, 4))
    lum = smooth(0.02, 0.86, lum) + 0.012 * _grain(x, 3)
    wash = lerp(lum, (lum * 5).round() / 5, 0.25)
    ink = wash * (1 - 0.75 * _edges(_blur(_luminance(x), 1, 1)))
    paper = rgb(0.965, 0.94, 0.885, x) * (1 + 0.012 * _grain(x, 1))
    return lerp(rgb(0.10, 0.105, 0.13, x), paper, ink)


def _poster(x: Tensor) -> Tensor:
    """A few flat, strong colours."""
    flat = _brush(_brush(x, 5), 4)
    lum = _luminance(flat).clamp(min=1e-3)
    steps = ((lum * 6).round() / 6).clamp(0.06, 0.97)
    colour = flat / lum * steps
    grey = colour.mean(1, keepdim=True)
    return grey + (colour - grey) * 1.55


def _pastel(x: Tensor) -> Tensor:
    """Pale colours in soft strokes on rough paper."""
    soft = _brush(x, 3)
    grey = soft.mean(1, keepdim=True)
    pale = 0.36 + 0.62 * (grey + (soft - grey) * 1.15)
    return pale + 0.035 * _grain(x, 0) * (1 - pale.mean(1, keepdim=True)) + 0.006 * _grain(x, 2)


def _pixel(x: Tensor) -> Tensor:
    """Flat pixels, four to the side, of few tones."""
    side = 4
    small = F.avg_pool2d(x, side, ceil_mode=True)
    grey = small.mean(1, keepdim=True)
    small = grey + (small - grey) * 1.25
    small = (small.clamp(0, 1) * 12).round() / 12
    large = small.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return large[..., : x.shape[2], : x.shape[3]]


STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    "ink wash": _ink_wash,
    "poster": _poster,
    "pastel": _pastel,
    "pixel art": _pixel,
}
