"""Encode a picture of any size to latents, tile by tile: the inverse of `decode.decode_canvas`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.decode import encode, from_pil, tile_fade, tile_size, tile_starts

_SQUARE_TILE: Final = 4  # two windows a side

_ReadTile = Callable[[int, int, int, int], Tensor]


def encode_canvas(
    vae: Any,
    picture: Image.Image,
    window: int,
    px_per_latent: int,
    on_tile: Callable[[], None] | None = None,
) -> Tensor:
    """Encode a picture to latents (1, C, H/f, W/f), on the autoencoder's device.

    `window`: the side of a window, in latents. `on_tile` is called before each tile. Tiles are two
    windows a side; they overlap by one window and fade into one another, as those of
    `decode_canvas` do.
    """
    height, width = picture.height // px_per_latent, picture.width // px_per_latent

    def read(top: int, left: int, bottom: int, right: int) -> Tensor:
        return from_pil(picture.crop((left, top, right, bottom)), vae.device)[None]

    tile = tile_size(height, width, window, _SQUARE_TILE)
    return _encode_tiles(vae, read, (height, width), tile, window, px_per_latent, on_tile)


def encode_image(
    vae: Any,
    image: Tensor,
    window: int,
    px_per_latent: int,
    tile: int,
    on_tile: Callable[[], None] | None = None,
) -> Tensor:
    """As `encode_canvas`, for an image (1, 3, H, W) in [-1, 1], in the tiles of `decode_canvas`.

    One of up to `tile` windows is encoded at once.
    """
    height, width = image.shape[-2] // px_per_latent, image.shape[-1] // px_per_latent
    size = tile_size(height, width, window, tile)
    if size == (height, width):
        return encode(vae, image)

    def read(top: int, left: int, bottom: int, right: int) -> Tensor:
        return image[..., top:bottom, left:right]

    return _encode_tiles(vae, read, (height, width), size, window, px_per_latent, on_tile)


def _encode_tiles(
    vae: Any,
    read: _ReadTile,
    canvas: tuple[int, int],
    tile: tuple[int, int],
    window: int,
    px_per_latent: int,
    on_tile: Callable[[], None] | None,
) -> Tensor:
    """`read`: a part (1, 3, h, w) of the picture, by its top, left, bottom and right in pixels.
    `canvas` and `tile`: their height and width, in latents."""
    scale = px_per_latent
    (height, width), (tile_height, tile_width) = canvas, tile
    latents = weight = torch.empty(0)
    for top, left in product(
        tile_starts(height, tile_height, window), tile_starts(width, tile_width, window)
    ):
        if on_tile:
            on_tile()
        y, x = top * scale, left * scale
        encoded = encode(vae, read(y, x, y + tile_height * scale, x + tile_width * scale))
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
