"""Light by the time of day, and clouds, fog and rain by the weather."""

from __future__ import annotations

import math

from panoweave.core.embedded.training.renderer.dice import Draft
from panoweave.core.embedded.training.renderer.maths import TAU
from panoweave.core.embedded.training.renderer.scene import Colour

_DAWNS: tuple[tuple[Colour, Colour], ...] = (
    ((1.18, 0.86, 0.78), (1.12, 0.88, 1.04)),
    ((1.24, 0.84, 0.66), (1.12, 0.92, 1.00)),
    ((1.10, 0.84, 0.92), (1.06, 0.88, 1.16)),
    ((1.14, 0.92, 0.80), (1.04, 0.94, 1.06)),
)
# Gains of the sky near a low sun and of the band above it.
_DUSKS: tuple[tuple[Colour, Colour], ...] = (
    ((1.35, 0.82, 0.50), (1.15, 0.90, 0.92)),
    ((1.25, 0.74, 0.72), (1.20, 0.82, 1.05)),
    ((1.20, 0.95, 0.62), (1.02, 0.97, 1.02)),
    ((1.15, 0.70, 0.90), (1.10, 0.80, 1.20)),
    ((1.5, 0.72, 0.42), (1.3, 0.80, 0.80)),
)
_STORM_TINTS: tuple[Colour, ...] = ((0.95, 1.03, 1.12), (1.05, 1.02, 1.0), (0.95, 1.0, 1.2))


def set_light(draft: Draft, time: str, biome: str) -> None:
    """Sun or moon, haze and exposure."""
    between = draft.between
    draft.set(sun_az=between(0, TAU), drift=between(0, 20000))
    mie = math.exp(between(-0.7, 1.0))
    if time == "noon":
        draft.set(sun_el=between(0.45, 0.9), key=between(0.21, 0.28))
    elif time == "dawn":
        # A clear, pale sky over a low sun, and mist on the ground.
        draft.set(sun_el=between(0.015, 0.10), sky_cap=between(0.50, 0.64), local=0.52)
        draft.set(key=between(0.21, 0.27), haze=between(3e-5, 6e-5))
        draft.set(fog=between(2e-5, 1.2e-4), fog_top=between(12, 40))
        mie *= 0.8
    elif time == "morning":
        draft.set(sun_el=between(0.12, 0.32), sky_cap=between(0.6, 0.75), key=between(0.19, 0.25))
        draft.set(haze=between(3e-5, 6e-5))
        mie *= 1.3
    elif time == "sunset":
        draft.set(sun_el=between(0.02, 0.11), sky_cap=between(0.42, 0.58), local=0.56)
        draft.set(key=between(0.20, 0.26), haze=between(2.5e-5, 6e-5))
        mie *= 1.5
    elif time == "twilight":
        draft.set(sun_el=between(-0.10, -0.05), sky_cap=between(0.30, 0.42), local=0.58)
        draft.set(key=between(0.19, 0.24), haze=between(2e-5, 5e-5))
    else:
        draft.set(sun_el=between(0.25, 0.7) if draft.chance(0.6) else between(0.14, 0.25))
        draft.set(key=between(0.12, 0.17), sky_cap=between(0.15, 0.23), local=0.48, night=1.0)
        draft.set(night_level=between(0.185, 0.27))
        mie *= 0.6
    warm, belt = draft.pick(_DAWNS if time == "dawn" else _DUSKS)
    draft.set(mie=mie, dusk_warm=warm, dusk_belt=belt)
    if biome == "snow":
        draft.scale("key", 1.12)
        draft.scale("sky_cap", 1.15)


def set_weather(draft: Draft, time: str, weather: str) -> str:
    """Returns the kind of clouds."""
    between = draft.between
    draft.set(cloud_base=between(900, 1500), cloud_thick=between(600, 1300), cirrus=0.0)
    if weather == "clear":
        return _clear(draft)
    if weather == "cloudy":
        return _cloudy(draft, low_sun=time in ("dawn", "sunset", "twilight"))
    if weather == "foggy":
        return _foggy(draft)
    _stormy(draft)
    return "storm"


def _clear(draft: Draft) -> str:
    between = draft.between
    kind = draft.pick(("none", "wisps", "few"), (0.42, 0.38, 0.20))
    if kind == "wisps":
        draft.set(cirrus=between(0.14, 0.32))
    elif kind == "few":
        draft.set(cumulus=between(0.16, 0.26), cloud_thick=between(300, 600))
    return kind


def _cloudy(draft: Draft, low_sun: bool) -> str:
    between = draft.between
    kind = draft.pick(("cumulus", "stratus", "cirrus", "mixed"), (0.52, 0.18, 0.14, 0.16))
    if kind in ("cumulus", "mixed"):
        draft.set(cumulus=between(0.38, 0.66))
    if kind == "stratus":
        draft.set(sheet=between(0.35, 0.6) if low_sun else between(0.5, 0.95))
        draft.set(sheet_h=between(1300, 2600), sheet_dark=between(0.6, 0.95))
        draft.set(sheet_fine=between(0.3, 1.4))
        draft.set(overcast=between(0.1, 0.5) * (0.3 if low_sun else 1.0))
    if kind in ("cirrus", "mixed"):
        draft.set(cirrus=between(0.55, 0.95))
    return kind


def _foggy(draft: Draft) -> str:
    between = draft.between
    kind = draft.pick(("none", "stratus"))
    draft.set(fog=between(4e-4, 2.2e-3), fog_top=between(30, 130), haze=between(6e-5, 1.4e-4))
    draft.set(overcast=between(0.1, 0.6))
    if kind == "stratus":
        draft.set(sheet=between(0.4, 0.8), sheet_dark=between(0.35, 0.7))
    return kind


def _stormy(draft: Draft) -> None:
    between = draft.between
    draft.set(sheet=1.0, sheet_h=between(700, 1300), sheet_dark=between(0.95, 1.25))
    draft.set(sheet_fine=between(0.8, 1.7), rain=draft.pick((0.0, 1.0)))
    draft.set(overcast=between(0.75, 0.95), cloud_dark=between(0.4, 0.65), haze=between(4e-5, 9e-5))
    draft.scale("key", 0.66)
    draft.scale("sky_cap", between(0.45, 0.65))
    draft.set(local=0.2, overcast_tint=draft.pick(_STORM_TINTS))
    draft.scale("wave", 1.6)
