"""The sky: gradient, sun or moon with its glow, stars, clouds."""

from __future__ import annotations

import numpy as np

from panoweave.core.embedded.noise import Array, fractal_2d, smoothstep
from panoweave.core.embedded.style import Style, mix


def paint_sky(
    rng: np.random.Generator, shape: tuple[int, int], horizon: float, style: Style
) -> tuple[Array, float]:
    """The whole picture filled with sky, and the column of the sun or moon."""
    height, width = shape
    down = np.clip(np.arange(height, dtype=np.float32) / horizon, 0, 1)[:, None, None]
    sky = mix(style.sky_top, style.sky_low, down ** np.float32(style.sky_curve))
    sky = np.repeat(sky, width, axis=1)
    time = style.subject.time
    if time in ("night", "twilight") and style.subject.weather in ("clear", "cloudy"):
        _add_stars(rng, sky, horizon, 1.0 if time == "night" else 0.35)
    column = float(rng.uniform(0, width))
    _add_sun_or_moon(rng, sky, column, horizon, style)
    _add_clouds(rng, sky, horizon, style)
    return sky, column


def _add_stars(rng: np.random.Generator, sky: Array, horizon: float, strength: float) -> None:
    height, width, _ = sky.shape
    count = int(width * horizon / 150)
    rows = (rng.random(count) ** 1.3 * horizon * 0.95).astype(int)
    columns = rng.integers(0, width, count)
    brightness = strength * (0.25 + 0.75 * rng.random(count) ** 3)
    sky[np.minimum(rows, height - 1), columns] += brightness[:, None].astype(np.float32)


def _add_sun_or_moon(
    rng: np.random.Generator, sky: Array, column: float, horizon: float, style: Style
) -> None:
    time, weather = style.subject.time, style.subject.weather
    low, high, radius, reach = {
        "dawn": (0.70, 0.95, 6.0, 30.0),
        "noon": (0.10, 0.30, 6.0, 20.0),
        "sunset": (0.72, 0.98, 8.0, 38.0),
        "twilight": (0.95, 1.05, 0.0, 55.0),
        "night": (0.15, 0.45, 6.5, 20.0),
    }[time]
    row = rng.uniform(low, high) * horizon
    veil = {"clear": 1.0, "cloudy": 0.75, "foggy": 0.5, "stormy": 0.12}[weather]
    y, x = np.ogrid[: sky.shape[0], : sky.shape[1]]
    # The glow of a low sun spreads along the horizon.
    spread = 1.0 if time in ("noon", "night") else 1.9
    away = np.hypot((x - column) / spread, y - row).astype(np.float32)
    halo = np.exp(-away / np.float32(reach)) * np.float32(veil * rng.uniform(0.5, 0.8))
    sky[:] = mix(sky, style.glow, halo[..., None])
    if radius and weather != "stormy":
        size = radius * rng.uniform(0.8, 1.2)
        distance = np.hypot(x - column, y - row).astype(np.float32)
        disc = np.clip(size - distance + 0.5, 0, 1) * np.float32(min(1.0, veil + 0.2))
        face = np.clip(style.glow * np.float32(1.25 if time != "night" else 1.6), 0, 1.05)
        sky[:] = mix(sky, face.astype(np.float32), disc[..., None])


def _add_clouds(rng: np.random.Generator, sky: Array, horizon: float, style: Style) -> None:
    if style.cloud_cover < 0.05:
        return
    height, width, _ = sky.shape
    rows = min(height, int(horizon) + 2)
    flat = rng.uniform(0.4, 0.75)
    cell = rng.uniform(26, 48)
    field = fractal_2d(rng, (rows, width), (cell * flat, cell), 5, 0.55) / np.float32(1.25)
    # cover 0 lets nothing through, 1 closes the sky
    threshold = 1.6 - 2.9 * style.cloud_cover
    body = smoothstep(threshold, threshold + 0.7, field)
    above = np.concatenate([field[:3], field[:-3]])
    lit = np.clip(0.6 + 0.8 * (field - above), 0, 1)
    colour = mix(style.cloud_shade, style.cloud_lit, lit[..., None])
    fade = np.clip(1.15 - np.arange(rows, dtype=np.float32) / horizon, 0.15, 1)[:, None]
    sky[:rows] = mix(sky[:rows], colour, (body * fade * np.float32(0.92))[..., None])
