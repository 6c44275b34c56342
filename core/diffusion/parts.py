"""With `upscale`: the part of the panorama that each window shows, which it follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.decode import decode, from_pil
from panoweave.core.diffusion.encode_tiles import unroll
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss
from panoweave.core.diffusion.views import View

_LEAST_SEEN_PX: Final = 64  # a perceptual network has no features of smaller pictures


class PartsOfPanorama:
    """What each window follows: its part of the first stage's panorama.

    They are compared in the size of the first stage, since the enlarged panorama has no details
    that a window should have.
    """

    def __init__(
        self,
        picture: Image.Image,
        factor: int,
        traits: CheckpointTraits,
        loop: bool,
        device: torch.device,
    ) -> None:
        """`picture`: the enlarged one."""
        self.factor, self.window_px = factor, traits.window_px
        self._px_per_latent = traits.px_per_latent
        self._margin = self.window_px if loop else 0
        self._picture = unroll(picture, self._margin) if loop else picture
        self._device = device

    def pictures(self, views: Sequence[View]) -> Tensor:
        """(N, 3, S, S) in [-1, 1]."""
        side, margin = self.window_px, self._margin
        crops = []
        for top, left in views:
            x, y = left * self._px_per_latent + margin, top * self._px_per_latent
            crop = self._picture.crop((x, y, x + side, y + side))
            crops.append(from_pil(crop, self._device))
        return torch.stack(crops)


class WithoutDetails(Appearance):
    """Embeds windows in the size that they have in the first stage."""

    def __init__(
        self, decoder: Any, perceptual: PerceptualLoss, parts: PartsOfPanorama, window: Tensor
    ) -> None:
        """`window`: any latents (1, C, S, S) of a window; a tiny decoder's images may be small."""
        super().__init__(decoder, perceptual)
        self._parts = parts
        decoded_px = decode(decoder, window).shape[-1]
        self._side_px = min(parts.window_px // parts.factor, decoded_px)

    def of(self, latents: Tensor) -> Embedding:
        return self._perceptual.embed(shrink_to(decode(self._decoder, latents), self._side_px))

    def of_views(self, views: Sequence[View]) -> Embedding:
        return self._perceptual.embed(shrink_to(self._parts.pictures(views), self._side_px))


def shrink_to(images: Tensor, side_px: int) -> Tensor:
    """Images (N, C, S, S), averaged over squares; none is smaller than a network can see."""
    count, channels, whole, _ = images.shape
    square = whole // side_px
    small = images.view(count, channels, side_px, square, side_px, square).mean((3, 5))
    times = -(-_LEAST_SEEN_PX // side_px)
    if times == 1:
        return small
    # As `repeat_interleave`, whose gradient has no fixed order of sums on a GPU.
    spread = small[:, :, :, None, :, None].expand(-1, -1, -1, times, -1, times)
    return spread.reshape(count, channels, side_px * times, side_px * times)
