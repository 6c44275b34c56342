"""Latents to pictures."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Decode latents (N, C, h, w) to pictures (N, 3, H, W), clamped to [-1, 1], same dtype.

    The clamp is part of the graph: a saturated pixel passes no gradient on (SyncDiffusion's D).
    """
    scaled = latents / vae.config.scaling_factor
    images: Tensor = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    return images.to(latents.dtype).clamp(-1, 1)


def to_pil(image: Tensor) -> Image.Image:
    """A picture (3, H, W) in [-1, 1] as an 8-bit RGB image."""
    levels = ((image + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def from_pil(image: Image.Image, device: torch.device) -> Tensor:
    """The inverse of `to_pil`: (3, H, W) in [-1, 1]."""
    width, height = image.size
    levels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return levels.to(device).view(height, width, 3).permute(2, 0, 1).float() / 127.5 - 1
