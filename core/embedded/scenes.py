"""Renders wide landscapes, each in one global style, and cuts training windows from them."""

from __future__ import annotations

import numpy as np

from panoweave.core.embedded.biomes import HEIGHT_PX, HORIZONS, PAINTERS
from panoweave.core.embedded.land import paint
from panoweave.core.embedded.noise import Array, fractal_2d
from panoweave.core.embedded.sky import paint_sky
from panoweave.core.embedded.style import Style, Subject, draw_style, draw_subject, mix

WINDOW_PX = HEIGHT_PX
SCENE_WIDTH_PX = 384


def render_scene(
    rng: np.random.Generator, subject: Subject | None = None, width_px: int = SCENE_WIDTH_PX
) -> tuple[Array, Subject]:
    """A scene of `(WINDOW_PX, width_px, 3)` in [0, 1] and what it shows."""
    subject = subject or draw_subject(rng)
    style = draw_style(rng, subject)
    horizon = WINDOW_PX * rng.uniform(*HORIZONS[subject.biome])
    picture, sun_column = paint_sky(rng, (WINDOW_PX, width_px), horizon, style)
    PAINTERS[subject.biome](rng, picture, style, horizon, sun_column)
    if subject.weather == "foggy":
        _add_fog_banks(rng, picture, style, horizon)
    return _grade(picture, style), subject


def cut_windows(rng: np.random.Generator, scene: Array, count: int) -> list[Array]:
    """Windows at random columns, spread over the scene."""
    span = (scene.shape[1] - WINDOW_PX) / count
    lefts = [int(span * (i + rng.random())) for i in range(count)]
    return [scene[:, left : left + WINDOW_PX] for left in lefts]


def _add_fog_banks(rng: np.random.Generator, picture: Array, style: Style, horizon: float) -> None:
    """Drifting banks about the horizon and thin mist over all."""
    height, width, _ = picture.shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    band = np.exp(-(((rows - horizon - 14) / 30) ** 2))
    drift = fractal_2d(rng, (height, width), (14, 60), 3)
    bank = np.clip(0.55 + 0.3 * drift, 0.1, 0.95) * band * np.float32(rng.uniform(0.7, 1.0))
    mist = rng.uniform(0.10, 0.28)
    paint(picture, style.haze, np.clip(bank + mist, 0, 0.92).astype(np.float32))


def _grade(picture: Array, style: Style) -> Array:
    """The scene's own colour grade: tint, saturation, contrast."""
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * np.float32(style.saturation)
    tinted = picture * (style.tint / style.tint.mean())
    picture = mix(picture, tinted, style.tint_strength)
    pivot = np.float32(picture.mean())
    picture = pivot + (picture - pivot) * np.float32(style.contrast)
    return np.clip(picture, 0, 1).astype(np.float32)
