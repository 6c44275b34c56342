"""Latents to pictures, and back."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

# A canvas of up to so many windows is decoded at once, a larger one in tiles of this area, so
# that memory does not grow with the picture.
TILE_WINDOWS: Final = 6
_LEAST_TILE_WINDOWS: Final = 2  # tiles overlap by one
_TILE_PX: Final = TILE_WINDOWS * 512**2


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Decode latents (N, C, h, w) to pictures (N, 3, H, W), clamped to [-1, 1], same dtype.

    The clamp is part of the graph: a saturated pixel passes no gradient on (SyncDiffusion's D).
    """
    scaled = latents / vae.config.scaling_factor
    images: Tensor = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    return images.to(latents.dtype).clamp(-1, 1)


def encode(vae: Any, images: Tensor) -> Tensor:
    """Encode pictures (N, 3, H, W) in [-1, 1] to latents (N, C, H/f, W/f), in float32.

    Of an autoencoder that gives a distribution, its mode.
    """
    encoded = vae.encode(images.to(vae.device, vae.dtype))
    latents = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded.latents
    scaled: Tensor = latents.float() * vae.config.scaling_factor
    return scaled


def tile_windows(window_px: int, gradient_checkpointing: bool) -> int:
    """How many windows to decode at once: fewer of large ones, and where memory is short."""
    if gradient_checkpointing:
        return _LEAST_TILE_WINDOWS
    return min(TILE_WINDOWS, max(_LEAST_TILE_WINDOWS, _TILE_PX // window_px**2))


def shrink(latents: Tensor, window: int) -> Tensor:
    """Latents (1, C, h, w) of about a window's area at the most: a rough, small picture's."""
    area = latents.shape[-2] * latents.shape[-1]
    scale = min(1.0, window / math.sqrt(area))
    height, width = (max(1, round(side * scale)) for side in latents.shape[-2:])
    return adaptive_avg_pool2d(latents, (height, width))


def decode_canvas(vae: Any, latents: Tensor, window: int, tile: int = TILE_WINDOWS) -> Tensor:
    """Decode a canvas (1, C, h, w) of any size to one picture (3, H, W) in [-1, 1], on the CPU.

    `window`: its side, in latents; `tile`: how many windows are decoded at once.

    Tiles overlap by a window. In the middle of it they pass into one another; what lies nearer to
    a tile's border, which the decoder sees without its neighbours, counts for nothing.
    """
    height, width = latents.shape[-2:]
    tile_height = min(height, 2 * window)
    tile_width = min(width, max(2 * window, tile * window * window // tile_height))
    if (tile_height, tile_width) == (height, width):
        return decode(vae, latents)[0].float().cpu()
    picture = weight = torch.empty(0)
    tops = _tiles(height, tile_height, window)
    lefts = _tiles(width, tile_width, window)
    for top, left in product(tops, lefts):
        part = latents[..., top : top + tile_height, left : left + tile_width]
        decoded = decode(vae, part)[0].float().cpu()
        scale = decoded.shape[-1] // tile_width
        if not len(picture):
            picture = torch.zeros(3, height * scale, width * scale)
            weight = torch.zeros(height * scale, width * scale)
        rows = slice(top * scale, (top + tile_height) * scale)
        columns = slice(left * scale, (left + tile_width) * scale)
        share = _fade(tile_height * scale, window * scale)[:, None] * _fade(
            tile_width * scale, window * scale
        )
        picture[:, rows, columns] += decoded * share
        weight[rows, columns] += share
    return picture.div_(weight)


def decode_ring(vae: Any, latents: Tensor, window: int, tile: int = TILE_WINDOWS) -> Tensor:
    """As `decode_canvas`, of a ring: the decoder sees what goes on beyond either edge."""
    width = latents.shape[-1]
    margin = min(window, width)
    unrolled = torch.cat([latents[..., -margin:], latents, latents[..., :margin]], dim=-1)
    picture = decode_canvas(vae, unrolled, window, tile)
    scale = picture.shape[-1] // unrolled.shape[-1]
    return picture[..., margin * scale : (margin + width) * scale]


def _tiles(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin so that neighbours overlap at least so much, the last one flush."""
    starts = range(0, side - tile, max(1, tile - overlap))
    return [*starts, side - tile]


def _fade(length: int, overlap: int) -> Tensor:
    """Weights (length,) of a tile's places: nothing, a ramp of half the overlap, one; and back.

    Nothing is a little more than 0: at the picture's own edges there is no other tile.
    """
    rising = torch.arange(1, length + 1)
    to_border = torch.minimum(rising, rising.flip(0))
    return ((to_border - overlap / 4) / (overlap / 2)).clamp(1e-5, 1)


def to_pil(image: Tensor) -> Image.Image:
    """A picture (3, H, W) in [-1, 1] as an 8-bit RGB image."""
    levels = ((image + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def from_pil(image: Image.Image, device: torch.device) -> Tensor:
    """The inverse of `to_pil`: (3, H, W) in [-1, 1]."""
    width, height = image.size
    levels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return levels.to(device).view(height, width, 3).permute(2, 0, 1).float() / 127.5 - 1
