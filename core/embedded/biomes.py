"""One painter for each biome: what stands under the sky, far to near."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from panoweave.core.embedded.land import (
    paint,
    paint_beach,
    paint_dunes,
    paint_flowers,
    paint_hills,
    paint_ridge,
)
from panoweave.core.embedded.noise import Array, smooth_1d
from panoweave.core.embedded.style import Style, jitter, mix
from panoweave.core.embedded.trees import (
    paint_canopy,
    paint_conifer,
    paint_conifer_line,
    paint_round_tree,
)
from panoweave.core.embedded.water import paint_water

HEIGHT_PX = 128

Colour = tuple[float, float, float]

# Takes the picture with its sky, the style, the horizon's row and the sun's column.
Painter = Callable[[np.random.Generator, Array, Style, float, float], None]

# Where the horizon lies, as shares of the height.
HORIZONS = {
    "mountains": (0.55, 0.72),
    "lake": (0.50, 0.60),
    "forest": (0.55, 0.70),
    "autumn": (0.52, 0.68),
    "desert": (0.48, 0.62),
    "meadow": (0.45, 0.60),
    "sea": (0.42, 0.58),
    "snow": (0.50, 0.64),
}


def _mountains(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, _sun: float
) -> None:
    rock = jitter(rng, (0.42, 0.39, 0.40), 0.12)
    layers = int(rng.integers(2, 5))
    for i in range(layers):
        near = (i + 1) / layers
        paint_ridge(
            rng,
            picture,
            style,
            base=horizon + 40 * near**1.5,
            rise=rng.uniform(36, 62),
            depth=1.0 - 0.85 * near,
            rock=rock,
            snow_line=rng.uniform(0.35, 0.6) if i >= layers - 2 else 0.55,
        )
    leaf = jitter(rng, (0.16, 0.25, 0.15), 0.15)
    ground = (HEIGHT_PX - 10 + 6 * smooth_1d(rng, picture.shape[1], 70)).astype(np.float32)
    paint_conifer_line(
        rng, picture, style, ground=ground, tall=rng.uniform(10, 22), depth=0.05, leaf=leaf
    )


def _lake(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, sun: float
) -> None:
    rock = jitter(rng, (0.40, 0.39, 0.42), 0.12)
    for depth, rise in ((0.8, rng.uniform(38, 52)), (0.45, rng.uniform(26, 42))):
        paint_ridge(
            rng,
            picture,
            style,
            base=horizon + 4,
            rise=rise,
            depth=depth,
            rock=rock,
            snow_line=rng.uniform(0.4, 0.7),
        )
    leaf = jitter(rng, (0.15, 0.27, 0.16), 0.15)
    ground = (horizon + 0.8 * smooth_1d(rng, picture.shape[1], 50)).astype(np.float32)
    paint_conifer_line(
        rng, picture, style, ground=ground, tall=rng.uniform(6, 14), depth=0.2, leaf=leaf
    )
    water = jitter(rng, (0.10, 0.26, 0.32), 0.15)
    paint_water(
        rng,
        picture,
        style,
        shore=int(horizon) + 1,
        sun_column=sun,
        water=water,
        rough=rng.uniform(0.0, 0.3),
    )


def _wood_hills(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, leaf: Array
) -> None:
    """Far hills behind a wood."""
    if rng.random() < 0.6:
        paint_ridge(
            rng,
            picture,
            style,
            base=horizon + 10,
            rise=rng.uniform(22, 44),
            depth=0.9,
            rock=leaf * np.float32(1.4),
            snow_line=None,
        )


def _forest(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, _sun: float
) -> None:
    leaf = jitter(rng, (0.13, 0.30, 0.15), 0.16)
    width = picture.shape[1]
    _wood_hills(rng, picture, style, horizon, leaf)
    for depth, base, tall in ((0.7, 4, 16), (0.45, 18, 24), (0.22, 34, 32)):
        ground = horizon + base + 4 * smooth_1d(rng, width, 60)
        paint_conifer_line(
            rng,
            picture,
            style,
            ground=ground.astype(np.float32),
            tall=tall * rng.uniform(0.8, 1.2),
            depth=depth,
            leaf=leaf,
        )
    column = float(rng.uniform(-10, 15))
    while column < width + 10:
        foot = (column, HEIGHT_PX * rng.uniform(0.94, 1.08))
        size = rng.uniform(48, 88)
        paint_conifer(rng, picture, style, foot=foot, tall=size, depth=0.03, leaf=leaf, snowy=False)
        column += rng.uniform(13, 34)


def _autumn(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, _sun: float
) -> None:
    palette: tuple[Colour, ...] = (
        (0.86, 0.40, 0.10),
        (0.90, 0.62, 0.14),
        (0.70, 0.20, 0.10),
        (0.80, 0.52, 0.16),
        (0.50, 0.44, 0.16),
    )
    leaves = [jitter(rng, c, 0.10) for c in palette]
    width = picture.shape[1]
    _wood_hills(rng, picture, style, horizon, leaves[3] * np.float32(0.6))
    for depth, base, tall in ((0.55, 6, 16), (0.28, 22, 24)):
        ground = (horizon + base + 4 * smooth_1d(rng, width, 70)).astype(np.float32)
        paint_canopy(rng, picture, style, ground=ground, tall=tall, depth=depth, leaves=leaves)
    floor = jitter(rng, (0.56, 0.38, 0.16), 0.12)
    paint_hills(
        rng, picture, style, base=horizon + 32, rise=8, depth=0.05, ground=floor, texture=0.2
    )
    column = float(rng.uniform(-10, 25))
    while column < width + 10:
        paint_round_tree(
            rng,
            picture,
            style,
            foot=(column, min(horizon + rng.uniform(36, 50), HEIGHT_PX + 2.0)),
            tall=rng.uniform(42, 70),
            depth=0.02,
            leaf=leaves[int(rng.integers(len(leaves)))],
        )
        column += rng.uniform(24, 60)


def _desert(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, _sun: float
) -> None:
    sand = jitter(rng, (0.88, 0.66, 0.40), 0.08)
    if rng.random() < 0.35:
        paint_ridge(
            rng,
            picture,
            style,
            base=horizon + 6,
            rise=rng.uniform(16, 30),
            depth=0.85,
            rock=jitter(rng, (0.62, 0.42, 0.30), 0.1),
            snow_line=None,
        )
    for depth, base, rise in ((0.7, 8, 12), (0.4, 24, 20), (0.15, 46, 30), (0.0, 72, 36)):
        paint_dunes(
            rng,
            picture,
            style,
            base=horizon + base,
            rise=rise * rng.uniform(0.8, 1.3),
            depth=depth,
            sand=sand,
        )


def _meadow(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, _sun: float
) -> None:
    grass = jitter(rng, (0.36, 0.60, 0.18), 0.12)
    leaf = jitter(rng, (0.20, 0.42, 0.14), 0.12)
    width = picture.shape[1]
    for depth, base, rise in ((0.75, 4, 16), (0.42, 18, 20), (0.15, 38, 22)):
        profile = paint_hills(
            rng, picture, style, base=horizon + base, rise=rise, depth=depth, ground=grass
        )
        for _ in range(int(rng.integers(1, 5))):
            column = rng.uniform(0, width - 1)
            tall = (1.1 - depth) * rng.uniform(16, 30)
            foot = (column, float(profile[int(column)]) + 3)
            paint_round_tree(rng, picture, style, foot=foot, tall=tall, depth=depth, leaf=leaf)
    paint_flowers(rng, picture, style, horizon + 44)


def _sea(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, sun: float
) -> None:
    width = picture.shape[1]
    if rng.random() < 0.45:
        land = jitter(rng, (0.38, 0.38, 0.30), 0.15)
        x = np.arange(width, dtype=np.float32)
        away = np.abs(x - rng.uniform(0, width)) / np.float32(rng.uniform(50, 130))
        shape = np.clip(1 - away**2, -1, 1)
        profile = horizon + 2 - rng.uniform(10, 26) * shape
        profile += (1.6 * smooth_1d(rng, width, 12)) * np.clip(shape, 0, 1)
        rows = np.arange(HEIGHT_PX, dtype=np.float32)[:, None]
        mask = np.clip(rows - profile[None, :] + 0.5, 0, 1)
        depth = rng.uniform(0.4, 0.8)
        colour = mix(land * style.light, style.haze, style.haze_density * depth)
        paint(picture, colour, mask.astype(np.float32))
    water = jitter(rng, (0.06, 0.28, 0.40), 0.16)
    rough = rng.uniform(0.6, 1.1) + (0.4 if style.subject.weather == "stormy" else 0.0)
    paint_water(rng, picture, style, shore=int(horizon), sun_column=sun, water=water, rough=rough)
    if rng.random() < 0.4:
        paint_beach(rng, picture, style)


def _snow(
    rng: np.random.Generator, picture: Array, style: Style, horizon: float, _sun: float
) -> None:
    white = jitter(rng, (0.92, 0.95, 1.0), 0.02)
    width = picture.shape[1]
    paint_ridge(
        rng,
        picture,
        style,
        base=horizon + 8,
        rise=rng.uniform(30, 52),
        depth=0.6,
        rock=jitter(rng, (0.46, 0.48, 0.54), 0.08),
        snow_line=rng.uniform(0.1, 0.3),
    )
    leaf = jitter(rng, (0.15, 0.24, 0.20), 0.12)
    for depth, base, rise in ((0.35, 14, 12), (0.12, 34, 16), (0.0, 60, 18)):
        profile = paint_hills(
            rng,
            picture,
            style,
            base=horizon + base,
            rise=rise,
            depth=depth,
            ground=white,
            texture=0.04,
        )
        for _ in range(int(rng.integers(5, 14))):
            column = rng.uniform(0, width - 1)
            tall = (1.05 - depth) * rng.uniform(22, 42)
            foot = (column, float(profile[int(column)]) + rng.uniform(2, 9))
            paint_conifer(
                rng, picture, style, foot=foot, tall=tall, depth=depth, leaf=leaf, snowy=True
            )


PAINTERS: dict[str, Painter] = {
    "mountains": _mountains,
    "lake": _lake,
    "forest": _forest,
    "autumn": _autumn,
    "desert": _desert,
    "meadow": _meadow,
    "sea": _sea,
    "snow": _snow,
}
