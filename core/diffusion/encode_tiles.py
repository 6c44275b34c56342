"""Encode a picture of any size to latents, tile by tile: the inverse of `decode.decode_canvas`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.decode import encode, from_pil, tile_fade, tile_starts


def encode_canvas(
    vae: Any,
    picture: Image.Image,
    window: int,
    px_per_latent: int,
    on_tile: Callable[[], None] | None = None,
) -> Tensor:
    """Encode a picture to latents (1, C, H/f, W/f), on the autoencoder's device.

    `window`: the side of a window, in latents. `on_tile` is called before each tile. Tiles overlap
    by one window and fade into one another, as those of `decode_canvas` do.
    """
    scale = px_per_latent
    height, width = picture.height // scale, picture.width // scale
    tile_height, tile_width = min(height, 2 * window), min(width, 2 * window)
    latents = weight = torch.empty(0)
    for top, left in product(
        tile_starts(height, tile_height, window), tile_starts(width, tile_width, window)
    ):
        if on_tile:
            on_tile()
        x, y = left * scale, top * scale
        box = (x, y, x + tile_width * scale, y + tile_height * scale)
        part = from_pil(picture.crop(box), vae.device)
        encoded = encode(vae, part[None])
        if not len(latents):
            latents = encoded.new_zeros(1, encoded.shape[1], height, width)
            weight = encoded.new_zeros(height, width)
        place = ..., slice(top, top + tile_height), slice(left, left + tile_width)
        share = tile_fade(tile_height, window)[:, None] * tile_fade(tile_width, window)
        share = share.to(encoded)
        latents[place] += encoded * share
        weight[place] += share
    return latents / weight


def encode_ring(
    vae: Any,
    picture: Image.Image,
    window: int,
    px_per_latent: int,
    on_tile: Callable[[], None] | None = None,
) -> Tensor:
    """As `encode_canvas`, for a ring: the encoder sees what continues beyond the edges."""
    margin = min(window, picture.width // px_per_latent)
    unrolled = unroll(picture, margin * px_per_latent)
    latents = encode_canvas(vae, unrolled, window, px_per_latent, on_tile)
    return latents[..., margin:-margin]


def unroll(picture: Image.Image, margin: int) -> Image.Image:
    """A ring with what continues beyond its edges, on both sides."""
    width, height = picture.size
    unrolled = Image.new("RGB", (width + 2 * margin, height))
    for left in (margin - width, margin, margin + width):
        unrolled.paste(picture, (left, 0))
    return unrolled
