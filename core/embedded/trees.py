"""Trees, one by one near the viewer and as a jagged line far away."""

from __future__ import annotations

import numpy as np

from panoweave.core.embedded.land import below, haze, paint
from panoweave.core.embedded.noise import Array, fractal_2d, smooth_1d
from panoweave.core.embedded.style import Style, mix


def paint_conifer_line(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    ground: Array,
    tall: float,
    depth: float,
    leaf: Array,
) -> None:
    """A far wood: the sky line `ground` raised by a row of pointed crowns."""
    height, width, _ = picture.shape
    x = np.arange(width, dtype=np.float32)
    crowns = np.zeros(width, np.float32)
    spacing = max(2.0, tall * 0.32)
    for centre in np.arange(0, width + spacing, spacing) + rng.uniform(-1, 1) * spacing:
        top = tall * rng.uniform(0.55, 1.1)
        half = top * rng.uniform(0.2, 0.3) + 0.6
        np.maximum(crowns, top * (1 - np.abs(x - centre) / half), out=crowns)
    texture = fractal_2d(rng, (height, width), (4, 2.5), 2, 0.6)
    colour = leaf * np.clip(0.85 + 0.18 * texture, 0.4, 1.4)[..., None]
    paint(picture, haze(style, colour * style.light, depth), below(ground - crowns, height))


def paint_conifer(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    foot: tuple[float, float],
    tall: float,
    depth: float,
    leaf: Array,
    snowy: bool,
) -> None:
    """One conifer with tiers of branches, lit from the sun's side; `foot` is (column, row)."""
    half = tall * rng.uniform(0.20, 0.27)
    box = _box(picture, foot, tall, half)
    if box is None:
        return
    part, x, y = box
    tiers = rng.uniform(5, 7) * max(0.6, min(1.0, tall / 50))
    tier = (y * tiers) % 1
    reach = half * np.maximum(y, 0) ** 0.9 * (0.62 + 0.38 * tier) + 0.4
    mask = np.clip(reach - np.abs(x) + 0.5, 0, 1) * (y > 0) * (y < 0.94)
    trunk = (np.abs(x) < max(0.7, tall * 0.022)) & (y >= 0.9) & (y <= 1)
    side = x / half * (-1 if style.sun_from_left else 1)
    lit = np.clip(0.85 + 0.30 * side + 0.40 * (tier - 0.5), 0.35, 1.4)
    colour = leaf * lit[..., None]
    if snowy:
        cap = np.clip((0.55 - tier) * 3, 0, 1) * np.clip(0.85 + 0.25 * side, 0, 1)
        colour = mix(colour, np.full(3, 0.95, np.float32), cap[..., None])
    mask = np.maximum(mask, trunk).astype(np.float32)
    paint(part, haze(style, colour.astype(np.float32) * style.light, depth), mask)


def paint_round_tree(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    foot: tuple[float, float],
    tall: float,
    depth: float,
    leaf: Array,
) -> None:
    """One broad-leaved tree: a trunk under a crown of leaf clumps."""
    half = tall * rng.uniform(0.36, 0.5)
    box = _box(picture, foot, tall, half * 1.2)
    if box is None:
        return
    part, x, y = box
    up = (1 - y) * tall
    trunk_half = max(0.8, tall * 0.035) * (1 + 0.6 * (up < tall * 0.06))
    trunk = np.clip(trunk_half - np.abs(x) + 0.5, 0, 1) * (up < tall * 0.6) * (up >= 0)
    bark = np.array([0.26, 0.19, 0.14], np.float32)
    paint(part, haze(style, bark * style.light, depth), trunk.astype(np.float32))
    sun = -1.0 if style.sun_from_left else 1.0
    # Low, shaded clumps first, high and lit ones over them.
    clumps = sorted(
        (rng.uniform(0.42, 0.82), rng.uniform(-0.65, 0.65)) for _ in range(int(rng.integers(7, 11)))
    )
    for level, offset in clumps:
        size = half * rng.uniform(0.36, 0.5) * (1.15 - abs(offset) * 0.4)
        dx, dy = x - offset * half, up - level * tall
        ragged = 1 + 0.10 * np.sin(5 * np.arctan2(dy, dx + 1e-3) + 9 * level)
        mask = np.clip(size * ragged - np.hypot(dx, dy * 1.15) + 0.5, 0, 1)
        lit = 0.62 + 0.38 * (level - 0.42) / 0.4 + 0.22 * (dy + sun * dx) / size
        colour = leaf * np.clip(lit, 0.3, 1.45).astype(np.float32)[..., None]
        paint(part, haze(style, colour * style.light, depth), mask.astype(np.float32))


def paint_canopy(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    ground: Array,
    tall: float,
    depth: float,
    leaves: list[Array],
) -> None:
    """A far broad-leaved wood: round crowns side by side, each in one of the leaf colours."""
    height, width, _ = picture.shape
    x = np.arange(width, dtype=np.float32)
    spacing = max(3.0, tall * 0.42)
    profile = np.zeros(width, np.float32)
    centres = np.arange(0, width + spacing, spacing) + rng.uniform(-1, 1) * spacing
    for centre in centres:
        half = spacing * rng.uniform(0.7, 1.1)
        dome = np.sqrt(np.clip(1 - ((x - centre) / half) ** 2, 0, 1))
        np.maximum(profile, dome * tall * rng.uniform(0.65, 1.1), out=profile)
    profile = ground - profile - np.float32(tall * 0.05) * smooth_1d(rng, width, 2.5)
    rows = np.arange(height, dtype=np.float32)[:, None]
    drop = np.clip((rows - profile[None, :]) / np.float32(tall), 0, 1)
    clumps = fractal_2d(rng, (height, width), (tall * 0.3, tall * 0.3), 3, 0.7)
    lit = np.clip(1.15 - 0.5 * drop + 0.17 * clumps, 0.3, 1.5)
    patch = fractal_2d(rng, (height, width), (tall * 0.7, spacing * 1.2), 2)
    pick = np.clip((patch + 1.6) / 3.2 * len(leaves), 0, len(leaves) - 1).astype(int)
    colour = np.stack(leaves)[pick] * lit[..., None]
    paint(picture, haze(style, colour * style.light, depth), below(profile, height))


def _box(
    picture: Array, foot: tuple[float, float], tall: float, half: float
) -> tuple[Array, Array, Array] | None:
    """The part of the picture about a tree, columns from its trunk, rows 0 (top) to 1 (foot)."""
    column, row = foot
    left, right = max(0, int(column - half - 2)), min(picture.shape[1], int(column + half + 3))
    top, bottom = max(0, int(row - tall - 1)), min(picture.shape[0], int(row + 1))
    if left >= right or top >= bottom:
        return None
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(column)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(row - tall)) / tall
    return picture[top:bottom, left:right], x, y.astype(np.float32)
