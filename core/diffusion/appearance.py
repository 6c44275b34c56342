"""What a window looks like: decoded, and embedded by the perceptual network."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from panoweave.core.diffusion.decode import decode
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss


class Appearance:
    """Embeds windows such that `perceptual.distance` compares them."""

    def __init__(self, decoder: Any, perceptual: PerceptualLoss) -> None:
        """`decoder`: the checkpoint's own autoencoder, or a tiny one."""
        self._decoder = decoder
        self._perceptual = perceptual

    def of(self, latents: Tensor) -> Embedding:
        """The embedding of clean windows (N, C, S, S); gradients flow to the latents."""
        return self._perceptual.embed(decode(self._decoder, latents))
