"""Land forms, painted far to near over the sky: ridges, hills, dunes, and what lies on them."""

from __future__ import annotations

import numpy as np

from panoweave.core.embedded.noise import (
    Array,
    fractal_1d,
    fractal_2d,
    ridged_1d,
    smooth_1d,
    smoothstep,
)
from panoweave.core.embedded.style import Style, jitter, mix


def below(profile: Array, height: int) -> Array:
    """How much of each pixel lies below the sky line `profile` (rows from the top), 0 to 1."""
    rows = np.arange(height, dtype=np.float32)[:, None]
    covered: Array = np.clip(rows - profile[None, :] + 0.5, 0, 1)
    return covered


def haze(style: Style, colour: Array, depth: float) -> Array:
    """Aerial perspective: what is far (depth 1) fades into the haze."""
    return mix(colour, style.haze, style.haze_density * depth ** (0.6 if depth else 1.0))


def paint(picture: Array, colour: Array, mask: Array) -> None:
    """Lays `colour` over the picture where the mask is 1."""
    picture[:] = mix(picture, colour, mask[..., None])


def _side_light(field: Array, style: Style, strength: float) -> Array:
    """Relief lit from the sun's side: brightness factors about 0.3 to 1.3."""
    shift = 2 if style.sun_from_left else -2
    lit: Array = np.clip(0.75 + strength * (field - np.roll(field, shift, axis=1)), 0.3, 1.3)
    return lit


def _peaks(rng: np.random.Generator, width: int, rise: float) -> Array:
    """A chain of summits of height up to about 1, each roughened by folded noise."""
    x = np.arange(width, dtype=np.float32)
    chain = np.full(width, 0.12, np.float32)
    centre = rng.uniform(-0.6, 0.6) * rise
    while centre < width + rise:
        top = rng.uniform(0.45, 1.05)
        left, right = rise * top * rng.uniform(0.9, 1.7, 2)
        slope = np.where(x < centre, (centre - x) / left, (x - centre) / right)
        np.maximum(chain, (top * (1 - slope)).astype(np.float32), out=chain)
        centre += rise * rng.uniform(0.7, 1.9)
    rough = ridged_1d(rng, width, rise * 0.5, 4) - 0.5
    return np.maximum(chain + 0.22 * rough, 0.03).astype(np.float32)


def paint_ridge(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    base: float,
    rise: float,
    depth: float,
    rock: Array,
    snow_line: float | None,
) -> Array:
    """One mountain chain with lit and shaded faces; returns its sky line."""
    height, width, _ = picture.shape
    profile = base - rise * _peaks(rng, width, rise)
    relief = np.abs(fractal_2d(rng, (height, width), (rise * 0.5, rise * 0.28), 4, 0.6))
    # Folds run down from the crest, so the relief follows the sky line a little.
    lit = _side_light(relief - profile[None, :] * np.float32(0.1), style, 0.9)
    colour: Array = rock * lit[..., None]
    if snow_line is not None:
        rows = np.arange(height, dtype=np.float32)[:, None]
        edge = base - rise * snow_line + rise * 0.16 * relief - rows
        snow = np.full(3, 0.96, np.float32) * (0.35 + 0.62 * lit[..., None])
        snow *= np.array([0.95, 0.98, 1.04], np.float32)
        colour = mix(colour, snow, smoothstep(-1.5, 1.5, edge)[..., None])
    paint(picture, haze(style, colour * style.light, depth), below(profile, height))
    return profile


def paint_hills(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    base: float,
    rise: float,
    depth: float,
    ground: Array,
    texture: float = 0.12,
) -> Array:
    """One rolling hill with mottled ground; returns its sky line."""
    height, width, _ = picture.shape
    profile = base - rise * (0.5 + 0.35 * fractal_1d(rng, width, rng.uniform(45, 90), 2, 0.3))
    grain = 3 + 5 * (1 - depth)
    mottle = fractal_2d(rng, (height, width), (grain * 0.6, grain * 1.8), 2, 0.6)
    rows = np.arange(height, dtype=np.float32)[:, None]
    # The crest catches the light, the hollow before the next hill lies in shade.
    fall = np.clip((rows - profile[None, :]) / np.float32(max(rise, 14.0) * 1.6), 0, 1)
    tilt = np.gradient(profile) * (1.0 if style.sun_from_left else -1.0)
    lit = 1.12 - 0.42 * fall - np.clip(tilt, -0.5, 0.5)[None, :] * 0.5 + texture * mottle
    colour = ground * np.clip(lit, 0.2, 1.5).astype(np.float32)[..., None]
    paint(picture, haze(style, colour * style.light, depth), below(profile, height))
    return profile


def paint_dunes(
    rng: np.random.Generator,
    picture: Array,
    style: Style,
    *,
    base: float,
    rise: float,
    depth: float,
    sand: Array,
) -> Array:
    """One chain of dunes: a bright windward side, a dark slip face below a sharp crest."""
    height, width, _ = picture.shape
    length = rise * rng.uniform(4.5, 8.0)
    x = np.arange(width, dtype=np.float32) / np.float32(length) + rng.uniform(0, 1)
    phase = (x + 0.22 * smooth_1d(rng, width, length * 1.3)) % 1
    peak = 0.68 if style.sun_from_left else 0.32
    wave = np.where(phase < peak, phase / peak, (1 - phase) / (1 - peak)).astype(np.float32)
    size = np.clip(0.75 + 0.3 * smooth_1d(rng, width, length * 1.5), 0.2, 1.2)
    profile: Array = base - rise * size * wave**1.35
    rows = np.arange(height, dtype=np.float32)[:, None]
    drop = rows - profile[None, :]
    # The crest line winds away from the summit as it comes down.
    bend = (phase[None, :] - peak) * length + (0.5 if style.sun_from_left else -0.5) * drop
    bend = bend + 2.2 * np.sin(drop * 0.22 + 6 * x[None, :])
    slip = smoothstep(-1.0, 1.0, bend if style.sun_from_left else -bend)
    slip = slip * np.clip(1.25 - drop / (rise * 1.1), 0, 1)
    ripples = fractal_2d(rng, (height, width), (1.8 + 2 * (1 - depth), 14), 2, 0.5)
    lit = 1.05 - 0.5 * slip + 0.05 * (1 - depth) * ripples - 0.10 * np.clip(drop / 60, 0, 1)
    colour = sand * lit.astype(np.float32)[..., None]
    paint(picture, haze(style, colour * style.light, depth), below(profile, height))
    return profile


def paint_flowers(rng: np.random.Generator, picture: Array, style: Style, top: float) -> None:
    """Dots of one or two colours, denser in drifts and larger towards the viewer."""
    if rng.random() < 0.35:
        return
    height, width, _ = picture.shape
    drifts = fractal_2d(rng, (height, width), (12, 40), 2)
    choices = (
        (0.95, 0.90, 0.30),
        (0.95, 0.95, 0.95),
        (0.90, 0.25, 0.25),
        (0.65, 0.40, 0.85),
    )
    colour = jitter(rng, choices[int(rng.integers(len(choices)))], 0.05) * style.light
    count = int(width * 1.3)
    rows = (top + (height - 2 - top) * rng.random(count) ** 0.8).astype(int)
    columns = rng.integers(0, width - 1, count)
    keep = (drifts[rows, columns] > rng.uniform(-0.4, 0.5)) & (rows > 0)
    for row, column in zip(rows[keep], columns[keep], strict=True):
        size = 1 if row < (top + height) / 2 else 2
        picture[row : row + size, column : column + size] = colour


def paint_beach(rng: np.random.Generator, picture: Array, style: Style) -> None:
    """Sand along the lower edge, wet and foam-lined at the water."""
    height, width, _ = picture.shape
    edge = height * rng.uniform(0.80, 0.90) + 4 * smooth_1d(rng, width, 70)
    rows = np.arange(height, dtype=np.float32)[:, None]
    inland = rows - edge[None, :]
    sand = jitter(rng, (0.86, 0.74, 0.54), 0.08)
    grain = fractal_2d(rng, (height, width), (2.5, 6), 2)
    dry = sand * (0.72 + 0.28 * np.clip(inland / 7, 0, 1) + 0.04 * grain)[..., None]
    paint(picture, (dry * style.light).astype(np.float32), smoothstep(-0.5, 1.0, inland))
    foam = np.exp(-((inland / 1.8) ** 2)) * np.float32(0.85)
    paint(picture, (style.light * np.float32(0.95)), foam.astype(np.float32))
