"""Water: mirrors what is above it, with ripples, streaks and the sun's path of light."""

from __future__ import annotations

import numpy as np

from panoweave.core.embedded.noise import Array, fractal_2d, smoothstep
from panoweave.core.embedded.style import Style, mix


def paint_water(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    shore: int,
    sun_column: float,
    water: Array,
    rough: float,
) -> None:
    """Fills the rows from `shore` down; `rough` 0 is a mirror, 1 an open sea."""
    height, width, _ = picture.shape
    rows = height - shore
    near = (np.arange(rows, dtype=np.float32) / rows)[:, None]
    # Waves look longer and higher the nearer they are: two scales, mixed by nearness.
    far_waves = fractal_2d(rng, (rows, width), (1.6, 16), 2, 0.5)
    near_waves = fractal_2d(rng, (rows, width), (5.0, 34), 3, 0.55)
    waves = mix(far_waves, near_waves, near)
    down = np.arange(rows)[:, None]
    source_row = shore - 1 - down * (1.0 - 0.15 * rough) + waves * (0.6 + 4.5 * rough) * near
    source_row = np.clip(source_row, 0, shore - 1).astype(int)
    shift = waves * (0.5 + 3.5 * rough) * (0.3 + near)
    source_column = (np.arange(width)[None, :] + shift.astype(int)) % width
    mirror = picture[source_row, source_column]
    deep = water * style.light
    body = mix(mirror, deep, (0.18 + (0.30 + 0.25 * rough) * near)[..., None])
    crest = np.clip(waves, -1.5, 2)[..., None] * np.float32(0.035 + 0.10 * rough)
    body = body + crest * (style.sky_low * np.float32(0.6) + style.light * np.float32(0.2))
    glint = {"clear": 0.9, "cloudy": 0.5, "foggy": 0.2, "stormy": 0.0}[style.subject.weather]
    x = np.arange(width, dtype=np.float32)[None, :]
    path = np.exp(-(((x - np.float32(sun_column)) / (5 + 16 * near)) ** 2))
    sparkle = smoothstep(0.0, 0.9, waves + 0.35) * path * np.float32(glint)
    picture[shore:] = mix(body, style.glow, np.clip(sparkle, 0, 1)[..., None])
