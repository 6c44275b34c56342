"""What a scene is about and the one global style it is painted in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoweave.core.embedded.noise import Array

BIOMES = ("mountains", "lake", "forest", "autumn", "desert", "meadow", "sea", "snow")
TIMES = ("dawn", "noon", "sunset", "twilight", "night")
WEATHERS = ("clear", "cloudy", "foggy", "stormy")


@dataclass(frozen=True)
class Subject:
    """What a caption may speak of."""

    biome: str
    time: str
    weather: str


# time: sky overhead, sky at the horizon, glow about the sun or moon, light on the land
_TIME_COLOURS = {
    "dawn": ((0.40, 0.56, 0.82), (1.00, 0.80, 0.70), (1.00, 0.86, 0.62), (1.00, 0.84, 0.78)),
    "noon": ((0.14, 0.42, 0.86), (0.72, 0.87, 0.98), (1.00, 0.98, 0.88), (1.06, 1.05, 1.00)),
    "sunset": ((0.30, 0.22, 0.50), (1.00, 0.50, 0.16), (1.00, 0.72, 0.30), (0.98, 0.60, 0.40)),
    "twilight": ((0.07, 0.09, 0.30), (0.60, 0.38, 0.62), (0.85, 0.55, 0.60), (0.42, 0.38, 0.62)),
    "night": ((0.015, 0.03, 0.11), (0.09, 0.15, 0.32), (0.55, 0.62, 0.80), (0.24, 0.31, 0.52)),
}


@dataclass(frozen=True)
class Style:
    """Colours and weather that every part of one scene shares."""

    subject: Subject
    sky_top: Array
    sky_low: Array
    sky_curve: float
    glow: Array
    light: Array
    haze: Array
    haze_density: float
    cloud_cover: float
    cloud_lit: Array
    cloud_shade: Array
    sun_from_left: bool
    tint: Array
    tint_strength: float
    saturation: float
    contrast: float


def mix(a: Array, b: Array, t: float | Array) -> Array:
    """`a` where t is 0, `b` where it is 1."""
    return a + (b - a) * np.float32(t) if isinstance(t, float) else a + (b - a) * t


def jitter(rng: np.random.Generator, colour: tuple[float, float, float], amount: float) -> Array:
    """The colour with brightness and each channel moved at random."""
    factors = np.exp(amount * rng.standard_normal(3)) * np.exp(amount * rng.standard_normal())
    moved: Array = (np.asarray(colour) * factors).astype(np.float32)
    return moved


def draw_subject(rng: np.random.Generator) -> Subject:
    """Any biome at any time in any weather; clear skies are the most frequent."""
    return Subject(
        str(rng.choice(BIOMES)),
        str(rng.choice(TIMES)),
        str(rng.choice(WEATHERS, p=(0.4, 0.25, 0.2, 0.15))),
    )


def draw_style(rng: np.random.Generator, subject: Subject) -> Style:
    """One palette for the subject, jittered so that no two scenes share it."""
    sky_top, sky_low, glow, light = (jitter(rng, c, 0.10) for c in _TIME_COLOURS[subject.time])
    dark = {"twilight": 0.5, "night": 0.16}.get(subject.time, 1.0)
    cloud_lit = mix(jitter(rng, (1.0, 1.0, 1.0), 0.03) * dark, sky_low, rng.uniform(0.35, 0.6))
    cloud_shade = mix(sky_top, sky_low, 0.45) * np.float32(rng.uniform(0.8, 0.95))
    cover = rng.uniform(0.0, 0.25)
    haze_density = rng.uniform(0.35, 0.6)
    if subject.weather == "cloudy":
        cover = rng.uniform(0.5, 0.75)
    elif subject.weather == "foggy":
        grey = np.float32(sky_low.mean() * 0.94)
        sky_low = mix(sky_low, np.full(3, grey, np.float32), 0.45)
        sky_top = mix(sky_top, sky_low, rng.uniform(0.55, 0.85))
        haze_density = rng.uniform(0.85, 0.97)
        cover = rng.uniform(0.0, 0.3)
    elif subject.weather == "stormy":
        cover = rng.uniform(0.8, 0.95)
        slate = jitter(rng, (0.30, 0.33, 0.38), 0.08) * np.float32(0.42 + 0.58 * dark)
        sky_top = mix(sky_top, slate, 0.8)
        sky_low = mix(sky_low, slate * np.float32(1.7), 0.55)
        cloud_lit = mix(sky_low, slate * np.float32(1.5), 0.5)
        cloud_shade = slate * np.float32(0.6)
        light = mix(light, np.full(3, light.mean(), np.float32), 0.6) * np.float32(0.68)
    return Style(
        subject=subject,
        sky_top=sky_top,
        sky_low=sky_low,
        sky_curve=rng.uniform(0.7, 1.6),
        glow=glow,
        light=light,
        haze=mix(sky_low, light * np.float32(0.8), 0.2),
        haze_density=haze_density,
        cloud_cover=cover,
        cloud_lit=cloud_lit,
        cloud_shade=cloud_shade,
        sun_from_left=bool(rng.random() < 0.5),
        tint=jitter(rng, (0.5, 0.5, 0.5), 0.35),
        tint_strength=rng.uniform(0.0, 0.18),
        saturation=rng.uniform(0.75, 1.2),
        contrast=rng.uniform(0.92, 1.12),
    )
