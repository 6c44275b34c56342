"""From light to picture: exposure, a graduated filter, bloom, a film curve, colour grading."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import lerp, rgb, smooth
from panoweave.core.embedded.training.renderer.scene import Batch


def average_samples(image: Tensor, supersample: int) -> Tensor:
    """(B, 3, W*s, H*s) -> (B, 3, W, H): as the eye would, highlights compressed first."""
    if supersample == 1:
        return image
    image = F.avg_pool2d(image / (1 + image), supersample)
    return image / (1 - image).clamp(min=1e-3)


def develop(batch: Batch, image: Tensor) -> Tensor:
    """Linear light (B, 3, W, H) -> display values, about [0, 1]."""
    number = {name: value.unsqueeze(1) for name, value in batch.numbers.items()}
    palette = batch.colours
    image = _expose(number, image)
    small = F.avg_pool2d((image - 0.9).clamp(0, 6), 8)
    small = _pad(small, 4)
    small = F.avg_pool2d(F.avg_pool2d(small, 5, stride=1), 5, stride=1)
    image = image + number["bloom"] * _enlarge(small, image)
    lum = image.mean(1, keepdim=True)
    moonlit = lerp(image, lum, 0.48) * rgb(0.56, 0.82, 1.36, image)
    image = lerp(image, moonlit, number["night"]) * palette["grade"]
    # Bright colours whiten, then a filmic curve (a rational fit by Narkowicz).
    lum = image.mean(1, keepdim=True)
    image = lerp(image, lum, 0.04 + 0.25 * smooth(1.0, 6.0, lum)) * 0.72
    image = (image * (2.51 * image + 0.03)) / (image * (2.43 * image + 0.59) + 0.14)
    image = image.clamp(0, 1) ** (1 / 2.2)
    lum = image.mean(1, keepdim=True)
    image = lerp(lum, image, number["saturation"])
    # Cameras do not see such greens.
    other = torch.maximum(image[:, :1] * 0.97, image[:, 2:3])
    lime = smooth(0.02, 0.30, image[:, 1:2] - other)
    image = lerp(image, lum, 0.30 * lime) * (1 - 0.05 * lime)
    image = 0.42 + (image - 0.42) * number["contrast"]
    lum = lum.clamp(0, 1)
    image = image + palette["tone_dark"] * (1 - lum) ** 2 + palette["tone_light"] * lum**2
    return _raise_nights(number["night_level"], image) if batch.has("night_level") else image


def _raise_nights(level: Tensor, image: Tensor) -> Tensor:
    """Brightens a picture whose mean is below `level` (B, 1, 1, 1) by a gamma curve."""
    image = image.clamp(0, 1)
    target = level.clamp(min=1e-3)
    for _ in range(4):
        mean = image.mean((1, 2, 3), keepdim=True).clamp(1e-3, 0.98)
        image = image ** (target.log() / mean.log()).clamp(0.6, 1.0)
    return image


def _expose(number: dict[str, Tensor], image: Tensor) -> Tensor:
    weights = rgb(0.25, 0.6, 0.15, image)
    lum = (image * weights).sum(1, keepdim=True)
    key = (lum.clamp(1e-4, 50) + 1e-4).log().mean((2, 3), keepdim=True).exp()
    gain = number["key"] / key
    image = image * gain
    # A grey graduated filter, as photographers use: bright regions are held back, dark ones lifted.
    top = (image.clamp(max=4.0) * weights).sum(1, keepdim=True)
    sky = top[..., : top.shape[-1] * 2 // 5].mean((2, 3), keepdim=True)
    held = (number["sky_cap"] / sky).clamp(max=1.0)
    image = image * held
    low = F.avg_pool2d((lum * gain * held + 1e-3).clamp(max=3.0).log(), 16)
    for _ in range(2):
        low = F.avg_pool2d(_pad(low, 1), 3, stride=1)
    low = low - low.mean((2, 3), keepdim=True)
    return image * (-number["local"] * _enlarge(low, image)).exp()


def _pad(x: Tensor, k: int) -> Tensor:
    """Columns wrap around, rows repeat their edge."""
    return F.pad(F.pad(x, (0, 0, k, k), mode="circular"), (k, k, 0, 0), mode="replicate")


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
