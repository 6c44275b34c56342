"""Decode latents to images, and encode images to latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from panoweave.core.diffusion.ranks import ONE_RANK, Ranks

# A canvas of up to this many windows is decoded at once, a larger one in tiles of this area, so
# that memory does not grow with the image.
TILE_WINDOWS: Final = 6
_LEAST_TILE_WINDOWS: Final = 2  # tiles overlap by one
_TILE_PX: Final = TILE_WINDOWS * 512**2


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Decode latents (N, C, h, w) to images (N, 3, H, W), clamped to [-1, 1], same dtype.

    This is SyncDiffusion's D. The clamp is part of the graph: saturated pixels have no gradient.
    """
    scaled = latents / vae.config.scaling_factor
    if shift := _shift(vae):
        scaled = scaled + shift
    images: Tensor = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    return images.to(latents.dtype).clamp(-1, 1)


def encode(vae: Any, images: Tensor) -> Tensor:
    """Encode images (N, 3, H, W) in [-1, 1] to latents (N, C, H/f, W/f), in float32.

    If the autoencoder gives a distribution, the result is its mode.
    """
    encoded = vae.encode(images.to(vae.device, vae.dtype))
    latents = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded.latents
    latents = latents.float()
    if shift := _shift(vae):
        latents = latents - shift
    scaled: Tensor = latents * vae.config.scaling_factor
    return scaled


def _shift(vae: Any) -> float:
    """The mean of the latents before they are scaled; Stable Diffusion 1, 2 and XL have none."""
    return float(vae.config.get("shift_factor") or 0)


def tile_windows(window_px: int, save_memory: bool) -> int:
    """How many windows to decode at once: fewer if they are large, or to save memory."""
    if save_memory:
        return _LEAST_TILE_WINDOWS
    return min(TILE_WINDOWS, max(_LEAST_TILE_WINDOWS, _TILE_PX // window_px**2))


def tile_size(height: int, width: int, window: int, tile: int) -> tuple[int, int]:
    """The (height, width) of the tiles of a canvas: all of it, if it is no larger than `tile`
    windows. In latents; `window`: the side of a window."""
    tile_height = min(height, 2 * window)
    return tile_height, min(width, max(2 * window, tile * window * window // tile_height))


def shrink(latents: Tensor, window: int) -> Tensor:
    """Shrink latents (1, C, h, w) to at most about the area of a window, for a rough image."""
    area = latents.shape[-2] * latents.shape[-1]
    scale = min(1.0, window / math.sqrt(area))
    height, width = (max(1, round(side * scale)) for side in latents.shape[-2:])
    return adaptive_avg_pool2d(latents, (height, width))


def decode_canvas(
    vae: Any,
    latents: Tensor,
    window: int,
    tile: int = TILE_WINDOWS,
    on_tile: Callable[[], None] | None = None,
    ranks: Ranks = ONE_RANK,
) -> Tensor:
    """Decode a canvas (1, C, h, w) of any size to one image (3, H, W) in [-1, 1], on the CPU.

    `window`: the side of a window, in latents; `tile`: how many windows are decoded at once.
    `on_tile` is called before each tile; an exception that it raises stops the work. `ranks` decode
    tiles side by side.

    Tiles overlap by one window, and fade into one another in the middle of the overlap. Nearer to
    the border of a tile the decoder does not see the neighbouring latents, so that part has almost
    no weight.
    """
    height, width = latents.shape[-2:]
    tile_height, tile_width = tile_size(height, width, window, tile)
    if (tile_height, tile_width) == (height, width):
        return decode(vae, latents)[0].float().cpu()
    picture = weight = torch.empty(0)
    tops = tile_starts(height, tile_height, window)
    lefts = tile_starts(width, tile_width, window)
    places = list(product(tops, lefts))

    def decode_tile(place: tuple[int, int]) -> Tensor:
        if on_tile:
            on_tile()
        top, left = place
        part = latents[..., top : top + tile_height, left : left + tile_width]
        return decode(vae, part)[0].float().cpu()

    for (top, left), decoded in zip(places, ranks.in_turn(places, decode_tile), strict=True):
        scale = decoded.shape[-1] // tile_width
        if not len(picture):
            picture = torch.zeros(3, height * scale, width * scale)
            weight = torch.zeros(height * scale, width * scale)
        rows = slice(top * scale, (top + tile_height) * scale)
        columns = slice(left * scale, (left + tile_width) * scale)
        share = tile_fade(tile_height * scale, window * scale)[:, None] * tile_fade(
            tile_width * scale, window * scale
        )
        picture[:, rows, columns] += decoded * share
        weight[rows, columns] += share
    return picture.div_(weight)


def decode_ring(
    vae: Any,
    latents: Tensor,
    window: int,
    tile: int = TILE_WINDOWS,
    on_tile: Callable[[], None] | None = None,
    ranks: Ranks = ONE_RANK,
) -> Tensor:
    """As `decode_canvas`, for a ring: the decoder sees what continues beyond the edges."""
    width = latents.shape[-1]
    margin = min(window, width)
    unrolled = torch.cat([latents[..., -margin:], latents, latents[..., :margin]], dim=-1)
    picture = decode_canvas(vae, unrolled, window, tile, on_tile, ranks)
    scale = picture.shape[-1] // unrolled.shape[-1]
    return picture[..., margin * scale : (margin + width) * scale]


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin: neighbours overlap at least this much, and the last ends at the edge."""
    starts = range(0, side - tile, max(1, tile - overlap))
    return [*starts, side - tile]


def tile_fade(length: int, overlap: int) -> Tensor:
    """The weights (length,) of a tile along one side.

    From an end inwards: nearly 0 for a quarter of the overlap, a ramp over half of it, then 1.
    Nearly, because at the edge of the image there is no other tile.
    """
    rising = torch.arange(1, length + 1)
    to_border = torch.minimum(rising, rising.flip(0))
    return ((to_border - overlap / 4) / (overlap / 2)).clamp(1e-5, 1)


def to_pil(image: Tensor) -> Image.Image:
    """Convert an image (3, H, W) in [-1, 1] to 8-bit RGB."""
    levels = ((image + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def from_pil(image: Image.Image, device: torch.device) -> Tensor:
    """Convert an image to (3, H, W) in [-1, 1]: the inverse of `to_pil`."""
    width, height = image.size
    levels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    image_levels = levels.to(device).view(height, width, 3).permute(2, 0, 1).float()
    return image_levels.div_(127.5).sub_(1)  # in place: a picture may be as large as a panorama
