"""What a window looks like: decoded, and embedded by the perceptual network."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from panoweave.core.diffusion.decode import decode
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss


class Appearance:
    """Embeds windows and images such that `perceptual.distance` compares them."""

    def __init__(self, decoder: Any, perceptual: PerceptualLoss) -> None:
        """`decoder`: the checkpoint's own autoencoder, or a tiny one."""
        self._decoder = decoder
        self._perceptual = perceptual

    def of(self, latents: Tensor) -> Embedding:
        """The embedding of clean windows (N, C, S, S); gradients flow to the latents."""
        return self._perceptual.embed(decode(self._decoder, latents))

    def of_image(self, image: Tensor, window: Tensor) -> Embedding:
        """The embedding of an image (1, 3, H, W) in [-1, 1], at the size of a decoded window.

        `window`: any latents (1, C, S, S) of a window.
        """
        height, width = decode(self._decoder, window).shape[-2:]
        return self._perceptual.embed(_cover(image, height, width))


def _cover(image: Tensor, height: int, width: int) -> Tensor:
    """An image (1, 3, H, W) scaled to cover this size, and cropped to it around its centre."""
    scale = max(height / image.shape[-2], width / image.shape[-1])
    tall, wide = (
        max(round(side * scale), least)
        for side, least in zip(image.shape[-2:], (height, width), strict=True)
    )
    scaled = interpolate(image, (tall, wide), mode="bilinear", antialias=True)
    top, left = (tall - height) // 2, (wide - width) // 2
    return scaled[..., top : top + height, left : left + width]
