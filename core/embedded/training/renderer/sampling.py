"""Draws scenes: a biome, a light, a weather, and a look of its own."""

from __future__ import annotations

import math

import numpy as np

from panoweave.core.embedded.training.renderer.biomes import MAKERS, PATHS
from panoweave.core.embedded.training.renderer.dice import Draft
from panoweave.core.embedded.training.renderer.maths import TAU
from panoweave.core.embedded.training.renderer.scene import BIOMES, TIMES, WEATHERS, Colour, Scene
from panoweave.core.embedded.training.renderer.weather import set_light, set_weather

_TIME_SHARES = (0.15, 0.15, 0.23, 0.18, 0.12, 0.17)
_WEATHER_SHARES = (0.38, 0.36, 0.14, 0.12)
_GREENS: tuple[tuple[Colour, Colour], ...] = (
    ((0.060, 0.095, 0.026), (0.125, 0.150, 0.048)),
    ((0.085, 0.105, 0.038), (0.19, 0.175, 0.075)),
    ((0.042, 0.080, 0.028), (0.085, 0.125, 0.040)),
    ((0.07, 0.10, 0.045), (0.15, 0.16, 0.08)),
)
_ROCKS: tuple[tuple[Colour, Colour], ...] = (
    ((0.20, 0.20, 0.20), (0.34, 0.33, 0.32)),
    ((0.24, 0.20, 0.17), (0.38, 0.32, 0.27)),
    ((0.15, 0.16, 0.18), (0.27, 0.28, 0.30)),
)
# Half width of each kind of path, metres.
_PATH_WIDTHS = {1: (0.5, 0.9), 2: (1.4, 1.9), 3: (1.6, 3.6), 4: (0.5, 0.9)}
_HORIZONS = {
    "mountains": (0.60, 0.70),
    "lake": (0.52, 0.62),
    "coast": (0.50, 0.64),
    "desert": (0.48, 0.58),
    "terraces": (0.40, 0.50),
}
_TREES = {0: "fir trees", 1: "trees", 2: "acacia trees", 3: "shrubs"}
_PATHS = {1: "footpath", 2: "dirt road", 3: "stream", 4: "tracks in the snow"}


def sample_scene(
    rng: np.random.Generator,
    biome: str | None = None,
    time: str | None = None,
    weather: str | None = None,
) -> Scene:
    """A scene for `render`; what is not given is drawn. The same state of `rng` gives the same."""
    draft = Draft(rng)
    biome = _known("biome", biome, BIOMES) or draft.pick(BIOMES)
    time = _known("time", time, TIMES) or draft.pick(TIMES, _TIME_SHARES)
    weather = _known("weather", weather, WEATHERS) or draft.pick(WEATHERS, _WEATHER_SHARES)
    seed = int(rng.integers(1 << 31))
    (grass_a, grass_b), (rock_a, rock_b) = draft.pick(_GREENS), draft.pick(_ROCKS)
    draft.set(grass_a=grass_a, grass_b=grass_b, rock_a=rock_a, rock_b=rock_b)
    draft.set(wind=draft.between(0, TAU))
    season = MAKERS[biome](draft)
    _lay_path(draft, biome)
    for name in (
        *("grass_a", "grass_b", "rock_a", "rock_b", "soil"),
        *("leaf_a", "leaf_b", "leaf_c", "shallow", "deep"),
    ):
        draft.colours[name] = draft.vary(draft.colours[name], 0.14, 0.07)
    set_light(draft, time, biome)
    clouds = set_weather(draft, time, weather)
    _set_camera_and_film(draft, biome)
    draft.set(seed=seed % 1000003)
    return Scene(
        seed=seed,
        biome=biome,
        time=time,
        weather=weather,
        season=season,
        clouds=clouds,
        extras=_extras(draft.numbers, biome),
        numbers=draft.numbers,
        colours=draft.colours,
    )


def _known(field: str, value: str | None, legal: tuple[str, ...]) -> str | None:
    if value is not None and value not in legal:
        raise ValueError(f"{field} must be one of {', '.join(legal)}, not {value!r}")
    return value


def _lay_path(draft: Draft, biome: str) -> None:
    if biome in PATHS:
        draft.set(path=draft.pick(PATHS[biome]))
    # All widths are drawn, so that the next numbers do not depend on the kind of path.
    widths = {kind: draft.between(*limits) for kind, limits in _PATH_WIDTHS.items()}
    kind = int(draft.numbers["path"])
    offset = draft.between(0, TAU), draft.between(3, 8) * (1 if draft.chance(0.5) else -1)
    draft.set(path_w=widths.get(kind, 1.0), path_a=offset[0])
    draft.set(path_o=offset[1] + (math.copysign(7.0, offset[1]) if kind == 3 else 0.0))
    soil = np.array(draft.colours["soil"])
    shade = np.clip(soil * 0.6 + soil.mean() * 0.5 + draft.between(0.0, 0.06), 0.03, 0.6)
    draft.set(path_colour=(float(shade[0]), float(shade[1]), float(shade[2])))


def _set_camera_and_film(draft: Draft, biome: str) -> None:
    """Every scene has a look of its own, so that windows of two scenes do not fit together."""
    draft.scale("haze", math.exp(draft.between(-0.4, 0.5)))
    draft.set(horizon=draft.between(*_HORIZONS.get(biome, (0.52, 0.66))))
    draft.set(saturation=draft.between(0.86, 1.22), contrast=draft.between(0.92, 1.14))
    warmth, green = draft.between(-0.10, 0.10), draft.between(-0.03, 0.03)
    draft.set(grade=(math.exp(warmth), math.exp(green), math.exp(-warmth)))
    lift = draft.between(0.0, 0.035)
    r, g, b = (lift + draft.between(-0.02, 0.02) for _ in range(3))
    draft.set(tone_dark=(r, g, b))
    r, g, b = (draft.between(-0.03, 0.02) for _ in range(3))
    draft.set(tone_light=(r, g, b))


def _extras(n: dict[str, float], biome: str) -> tuple[str, ...]:
    """What else the scene holds, for captions."""
    extras = []
    if n["forest"] > 0.3 and biome not in ("forest", "autumn"):
        extras.append(_TREES[int(n["tree_kind"])])
    if n["flowers"] > 0 and biome == "meadow":
        extras.append("wildflowers")
    if n["mountain"] > 0 and biome not in ("mountains", "lake"):
        extras.append("distant mountains")
    if n["mountain"] > 0 and -1000 < n["snowline"] < 900:
        extras.append("snowy peaks")
    if n["flooded"] > 0:
        extras.append("flooded fields")
    if n["lake"] > 0 and biome == "mountains":
        extras.append("alpine lake")
    if n["path"] > 0:
        extras.append(_PATHS[int(n["path"])])
    return tuple(extras)
