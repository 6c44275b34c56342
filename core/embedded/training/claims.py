"""What may truthfully be said of a window: read off what its columns show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from panoweave.core.embedded.training.renderer import TIMES, WindowAttributes

Numbers = Mapping[str, float]

# Shares of the land (all but the sky) above which a thing may be named.
_MUCH = 0.33
_SOME = 0.06


@dataclass(frozen=True)
class Claims:
    """Keys of `phrases`: each is true of the window, and any may be left out of a caption."""

    subjects: tuple[str, ...]  # what the picture can be said to be of; the main one first
    details: tuple[str, ...] = ()  # what it also holds
    skies: tuple[str, ...] = ()
    time: str = "noon"
    weather: str | None = None  # None: it cannot be seen in this window
    season: str | None = None
    moods: tuple[str, ...] = field(default=())


def claims_of(w: WindowAttributes, numbers: Numbers) -> Claims:
    """What may be said of a window, by what the renderer says of it."""
    assert w.time in TIMES
    weather = _weather(w)
    subjects = _subjects(w, numbers)
    return Claims(
        subjects=subjects,
        details=_details(w, numbers, subjects),
        skies=_skies(w, numbers, weather),
        time=w.time,
        weather=weather,
        season=_season(w),
        moods=_moods(w, weather, subjects),
    )


def _share(w: WindowAttributes, name: str) -> float:
    """A class's share of the window's land."""
    land = max(w.land, 1e-6)
    return w.shares[name] / land


def _subjects(w: WindowAttributes, numbers: Numbers) -> tuple[str, ...]:
    biome = w.biome
    share = {
        name: _share(w, name)
        for name in ("water", "trees", "snow", "rock", "sand", "ground", "flowers", "pool")
    }
    peaks = w.peak_visible
    conifers = numbers["tree_kind"] == 0.0
    found: list[str] = []
    if biome == "coast" and share["water"] > 0.15:
        found.append("sea")
        if share["rock"] > _SOME:
            found.append("cliffs")
        if share["sand"] > _SOME:
            found.append("beach")
    elif share["water"] > 0.24 and biome not in ("coast", "terraces"):
        found.append("mountain lake" if peaks else "lake")
        if share["trees"] > 0.12:
            found.append("forest lake")
    if w.volcano_visible:
        found.append("volcano")
    if biome == "snow" and share["snow"] > 0.3:
        found.append("snowy forest" if share["trees"] > _MUCH else "snow")
        if peaks:
            found.append("snowy mountains")
    if biome == "autumn" and share["trees"] > 0.15:
        found.append("autumn forest" if share["trees"] > _MUCH else "autumn trees")
    elif biome not in ("snow", "savanna") and share["trees"] > _MUCH:
        found.append("conifer forest" if conifers else "leafy forest")
    if biome == "savanna" and share["water"] < 0.2:
        found.append("savanna")
    if biome == "terraces" and share["trees"] < 0.6:
        found.append("flooded terraces" if share["pool"] > 0.03 else "terraces")
    if biome == "canyon" and share["trees"] < 0.5:
        found.append("mesas" if w.peak_height > 0.04 else "canyon")
    if biome == "desert" and share["sand"] > 0.4:
        found.append("dunes")
    if biome == "volcano" and not w.volcano_visible and share["trees"] < _MUCH:
        found.append("lava field")
    if peaks and biome not in ("snow", "canyon", "desert", "terraces", "savanna", "coast"):
        snowy = share["snow"] > 0.03
        found.append("snowy peaks" if snowy else "mountains")
    grassy = share["ground"] > 0.3 and biome in ("meadow", "mountains", "lake", "forest")
    if grassy:
        found.append("alpine meadow" if peaks else "meadow")
    if biome == "meadow" and share["flowers"] > 0.01:
        found.append("flower meadow")
    if not found:
        found.append("open land")
    return tuple(found)


def _details(w: WindowAttributes, numbers: Numbers, subjects: tuple[str, ...]) -> tuple[str, ...]:
    biome, extras = w.biome, " ".join(w.extras)
    named = " ".join(subjects)
    found = []
    if _share(w, "path") > 0.008:
        for words in ("footpath", "dirt road", "stream", "tracks in the snow"):
            if words in extras:
                found.append(words)
    if _share(w, "stones") > 0.012:
        found.append("stones")
    trees = _share(w, "trees")
    if trees > 0.05 and "forest" not in named and "trees" not in named:
        kind = numbers["tree_kind"]
        found.append({0.0: "firs", 2.0: "acacias"}.get(kind, "trees"))
    if biome == "autumn" and trees > 0.05 and "autumn" not in named:
        found.append("autumn colours")
    if _share(w, "bushes") > _SOME:
        found.append("bushes")
    if _share(w, "flowers") > 0.01:
        found.append("flowers")
    water = _share(w, "water")
    if 0.04 < water <= 0.24 and biome not in ("coast", "terraces"):
        found.append("distant lake")
    peaks_named = "mountain" in named or "peaks" in named or biome in ("volcano", "canyon")
    if w.peak_visible and not peaks_named:
        found.append("distant mountains")
    if biome not in ("snow", "desert") and _share(w, "snow") > 0.03:
        found.append("snow patches")
    if water > 0.24 and numbers["wave"] < 0.12:
        found.append("reflections")
    return tuple(found)


def _weather(w: WindowAttributes) -> str | None:
    """The scene's weather, where this window bears it out."""
    weather, clouded = w.weather, w.clouded
    if weather == "clear" and clouded > 0.3:
        return None
    if weather == "cloudy" and (clouded < 0.2 or w.sky < 0.08):
        return None
    return weather


def _skies(w: WindowAttributes, numbers: Numbers, weather: str | None) -> tuple[str, ...]:
    found = []
    time, kind = w.time, w.clouds
    if w.sky > 0.15:
        if w.clouded > 0.2 and weather == "cloudy":
            named = {"cumulus": "cumulus", "stratus": "overcast", "cirrus": "wisps"}
            if kind in named:
                found.append(named[kind])
        if weather == "clear" and time in ("morning", "noon") and w.clouded < 0.15:
            found.append("blue sky")
        if weather == "clear" and time == "noon":
            found.append("sunshine")
        if weather == "clear" and time == "night":
            found.append("stars")
        if weather == "clear" and time == "twilight":
            found.append("afterglow")
        if time == "sunset" and weather in ("clear", "cloudy") and w.toward_sun:
            found.append("red sky")
    if w.sun_visible:
        found.append("low sun" if time in ("dawn", "morning", "sunset") else "sun")
    if w.moon_visible:
        found.append("moon")
    if weather == "stormy" and numbers["rain"] > 0:
        found.append("rain")
    return tuple(found)


def _season(w: WindowAttributes) -> str | None:
    season = w.season
    if season in ("autumn", "winter", "dry season"):
        return season
    green = _share(w, "ground") + _share(w, "trees") > 0.4
    return season if green and w.biome in ("meadow", "forest", "terraces") else None


def _moods(w: WindowAttributes, weather: str | None, subjects: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    time = w.time
    if weather == "stormy":
        found += ["dramatic", "gloomy"]
    if weather == "foggy":
        found += ["mysterious", "calm"]
    if weather in ("clear", "cloudy") and time in (
        "dawn",
        "morning",
        "sunset",
        "twilight",
        "night",
    ):
        found.append("calm")
    if weather == "clear" and time == "noon":
        found.append("sunny")
    if time == "sunset" and weather in ("clear", "cloudy"):
        found.append("golden")
    if w.peak_height > 0.15 and any("mountain" in s or "peak" in s for s in subjects):
        found.append("majestic")
    if w.biome == "snow":
        found.append("cold")
    return tuple(found)
