"""The atlas: every plant and stone as a small picture with normals, painted once per device."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from panoweave.core.embedded.training.renderer.blobs import Array
from panoweave.core.embedded.training.renderer.maths import TAU
from panoweave.core.embedded.training.renderer.plant_shapes import shape

SPRITE_H, SPRITE_W = 208, 176
SCALE = SPRITE_H / 1.04  # sprite pixels in a plant's height
FOOT = SPRITE_H - 2  # the row of the ground
KINDS = ("conifer", "broad", "acacia", "bush", "tuft", "stone", "bloom", "pine")
CONIFER, BROAD, ACACIA, BUSH, TUFT, STONE, BLOOM, PINE = range(len(KINDS))
VARIANTS = 5
SPRITES = len(KINDS) * VARIANTS
CHANNELS = 8  # opacity, normal x y z, occlusion, tone, bark, flower
LEVELS = 4  # sizes, each half of the one before
# Of each variant: a few stones as (middle, size, flatness).
_STONES = (
    ((0.0, 0.30, 0.85),),
    ((0.0, 0.33, 0.5),),
    ((0.02, 0.29, 0.8),),
    ((-0.15, 0.18, 0.8), (0.12, 0.24, 0.9)),
    ((-0.22, 0.13, 0.6), (0.2, 0.15, 0.8), (0.0, 0.2, 0.6)),
)

Picture = NDArray[np.float32]


def _paint(blobs: Array) -> Picture:
    """Ellipses (N, 12), painted far to near: (8, 208, 176)."""
    out = np.zeros((CHANNELS, SPRITE_H, SPRITE_W), np.float32)
    for b in blobs[np.argsort(blobs[:, 2])]:
        cx, cy = SPRITE_W / 2 + b[0] * SCALE, FOOT - b[1] * SCALE
        rx, ry = max(b[3] * SCALE, 0.8), max(b[4] * SCALE, 0.8)
        x0, x1 = max(int(cx - rx), 1), min(int(cx + rx) + 2, SPRITE_W - 1)
        y0, y1 = max(int(cy - ry), 1), min(int(cy + ry) + 2, SPRITE_H)
        if x0 >= x1 or y0 >= y1:
            continue
        yy, xx = np.mgrid[y0:y1, x0:x1]
        d = ((xx - cx) / rx) ** 2 + ((yy - cy) / ry) ** 2
        alpha = np.clip((1.15 - d) * 2, 0, 1).astype(np.float32)
        colour = np.array([1, *b[5:12]], np.float32)[:, None, None]
        out[:, y0:y1, x0:x1] += alpha * (colour - out[:, y0:y1, x0:x1])
    return out


def _paint_stone(variant: int, rng: np.random.Generator) -> Picture:
    """Faceted stones: the lower envelope of random planes."""
    out = np.zeros((CHANNELS, SPRITE_H, SPRITE_W), np.float32)
    yy, xx = np.mgrid[0:SPRITE_H, 0:SPRITE_W]
    x, y = (xx - SPRITE_W / 2) / SCALE, (FOOT - yy) / SCALE
    grain = rng.normal(size=(SPRITE_H // 4 + 1, SPRITE_W // 4 + 1)).repeat(4, 0).repeat(4, 1)
    rough = grain[:SPRITE_H, :SPRITE_W]
    for cx, size, flat in _STONES[variant]:
        z = np.full(x.shape, 9.0)
        n = np.zeros((3, *x.shape))
        for _ in range(16):
            phi, up = rng.uniform(0, TAU), rng.uniform(0.0, 1.0) ** 0.7
            level = math.sqrt(1 - up * up * 0.9)
            v = np.array([math.cos(phi) * level, math.sin(phi) * level * 0.9 + 0.15, 0.2 + up])
            v /= np.linalg.norm(v)
            px = (x - cx) + 0.012 * rough
            py = (y - 0.30 * size * flat) / flat
            plane = (size * rng.uniform(0.8, 1.1) - px * v[0] - py * v[1]) / v[2]
            n = np.where(plane < z, v[:, None, None], n)
            z = np.minimum(z, plane)
        alpha = np.clip(z * 60, 0, 1) * (y > 0)
        occlusion = np.clip(0.45 + 1.6 * y, 0.3, 1)
        tone = np.clip(0.5 + 0.16 * rough + 0.2 * np.sin(y * 40 + 6 * x), 0, 1)
        normal = (n[0] + 0.12 * rough, n[1] - 0.1 * rough, n[2])
        zero = np.zeros_like(x)
        out += alpha * (np.stack([zero + 1, *normal, occlusion, tone, zero, zero]) - out)
    return out.astype(np.float32)


@lru_cache(maxsize=4)
def _sprites() -> Tensor:
    rng = np.random.default_rng(12)
    pictures = [
        _paint_stone(v, rng) if kind == "stone" else _paint(shape(kind, v, rng))
        for kind in KINDS
        for v in range(VARIANTS)
    ]
    return torch.from_numpy(np.stack(pictures))


@lru_cache(maxsize=4)
def atlas(device: torch.device) -> tuple[Tensor, ...]:
    """All sprites in one tall picture (1, 8, 40 * H, W), premultiplied, at four sizes."""
    full = _sprites().to(device)
    levels = []
    for level in range(LEVELS):
        pictures = full.clone()
        pictures[:, 1:] = pictures[:, 1:] * pictures[:, :1]
        if level:
            pictures = F.avg_pool2d(pictures, 2**level)
        tall = pictures.permute(1, 0, 2, 3).reshape(1, CHANNELS, -1, pictures.shape[-1])
        levels.append(tall.contiguous())
    return tuple(levels)
