"""Captions from a small grammar: paraphrases, attributes dropped at random, filler to ignore."""

from __future__ import annotations

import numpy as np

from panoweave.core.embedded.style import Subject

KEEP_TIME = 0.72
KEEP_WEATHER = 0.60
EMPTY = 0.10
GENERIC = 0.12
FILLER = 0.12

_OPENINGS = (
    "",
    "",
    "a photo of ",
    "a picture of ",
    "a painting of ",
    "a view of ",
    "a panorama of ",
    "a wide view of ",
    "a beautiful landscape with ",
)
_GENERIC = ("a landscape", "a beautiful landscape", "nature", "scenery", "a natural landscape")
_BIOMES = {
    "mountains": (
        "mountains",
        "a mountain range",
        "rocky mountains",
        "mountain peaks",
        "a mountain landscape",
        "high mountains above a forest",
    ),
    "lake": (
        "a lake",
        "a mountain lake",
        "a calm lake",
        "a lake below mountains",
        "mountains mirrored in a lake",
    ),
    "forest": ("a forest", "a pine forest", "fir trees", "pine trees", "woods", "a green forest"),
    "autumn": (
        "an autumn forest",
        "autumn trees",
        "autumn woods",
        "a forest in autumn",
        "trees in fall colours",
    ),
    "desert": ("a desert", "sand dunes", "desert dunes", "a sandy desert", "dunes of sand"),
    "meadow": (
        "a meadow",
        "green hills",
        "grassy hills",
        "a green meadow",
        "rolling hills with trees",
        "a spring meadow",
    ),
    "sea": ("the sea", "the ocean", "a calm sea", "ocean waves", "a seascape", "a sea coast"),
    "snow": (
        "a snowy landscape",
        "snowy hills",
        "a winter landscape",
        "snow",
        "fir trees in snow",
        "a snowy mountain",
    ),
}
_TIMES = {
    "dawn": ("at dawn", "at sunrise", "in the early morning", "in morning light"),
    "noon": ("at noon", "at midday", "in daylight", "by day", "on a bright day"),
    "sunset": ("at sunset", "in the evening", "in evening light", "in orange sunset light"),
    "twilight": ("at twilight", "at dusk", "after sunset", "in purple twilight"),
    "night": ("at night", "by moonlight", "under the stars", "in the dark night"),
}
_WEATHERS = {
    "clear": ("under a clear sky", "in clear weather", "with a clear sky"),
    "cloudy": ("under clouds", "with clouds", "under a cloudy sky", "in cloudy weather"),
    "foggy": ("in fog", "in the mist", "with misty fog", "in foggy weather"),
    "stormy": ("in a storm", "under a stormy sky", "under dark clouds", "in stormy weather"),
}
_TIME_TAGS = {"dawn": "sunrise", "noon": "noon", "sunset": "sunset", "night": "night"}
_WEATHER_TAGS = {"clear": "clear sky", "cloudy": "clouds", "foggy": "fog", "stormy": "storm"}
_ADJECTIVES = {"cloudy": ("cloudy",), "foggy": ("misty", "foggy"), "stormy": ("stormy",)}

# Words that people write into prompts and that these scenes know nothing of: learnt as noise.
_FILLER_WORDS = (
    "anime",
    "style",
    "illustration",
    "cartoon",
    "photograph",
    "digital",
    "art",
    "oil",
    "watercolor",
    "realistic",
    "detailed",
    "highly",
    "quality",
    "high",
    "resolution",
    "sharp",
    "cinematic",
    "dramatic",
    "epic",
    "stunning",
    "majestic",
    "peaceful",
    "skiers",
    "city",
    "skyline",
    "summer",
    "spring",
    "river",
    "waterfall",
    "valley",
    "village",
    "road",
    "bridge",
    "people",
    "birds",
    "boat",
    "house",
    "old",
    "new",
    "small",
    "large",
    "big",
    "very",
    "and",
    "on",
    "of",
    "with",
    "near",
    "far",
    "from",
    "a",
    "the",
    "wonderful",
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-'"


def caption(rng: np.random.Generator, subject: Subject) -> str:
    """One way to say, or half say, what a window shows. Empty for guidance one time in ten."""
    draw = rng.random()
    if draw < EMPTY:
        return ""
    generic = draw < EMPTY + GENERIC
    place = _pick(rng, _GENERIC if generic else _BIOMES[subject.biome])
    time = rng.random() < KEEP_TIME and not generic
    weather = rng.random() < KEEP_WEATHER and not generic
    if rng.random() < 0.15:
        tags = [place]
        if time:
            tags.append(_TIME_TAGS.get(subject.time, subject.time))
        if weather:
            tags.append(_WEATHER_TAGS[subject.weather])
        text = ", ".join(tags)
    else:
        parts = []
        if time:
            parts.append(_pick(rng, _TIMES[subject.time]))
        if weather and subject.weather in _ADJECTIVES and rng.random() < 0.35:
            place = _with_adjective(place, _pick(rng, _ADJECTIVES[subject.weather]))
        elif weather:
            parts.append(_pick(rng, _WEATHERS[subject.weather]))
        rng.shuffle(parts)
        text = " ".join([_pick(rng, _OPENINGS) + place, *parts])
    return _with_filler(rng, text) if rng.random() < FILLER else text


def vocabulary() -> list[str]:
    """Every whole word that a caption can hold, in a fixed order."""
    phrases: list[str] = [*_OPENINGS, *_GENERIC, *_FILLER_WORDS]
    for table in (_BIOMES, _TIMES, _WEATHERS, _ADJECTIVES):
        for options in table.values():
            phrases.extend(options)
    phrases += [*_TIME_TAGS.values(), *_WEATHER_TAGS.values(), "twilight", "an"]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _with_adjective(place: str, adjective: str) -> str:
    article, _, rest = place.partition(" ")
    if article in ("a", "an", "the"):
        return f"{'a' if article == 'an' else article} {adjective} {rest}"
    return f"{adjective} {place}"


def _with_filler(rng: np.random.Generator, text: str) -> str:
    """Strews in words that mean nothing here, so that strange prompts do no harm."""
    words = text.split()
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.6:
            word = _FILLER_WORDS[int(rng.integers(len(_FILLER_WORDS)))]
        else:
            letters = rng.integers(len(_LETTERS), size=int(rng.integers(2, 7)))
            word = "".join(_LETTERS[int(i)] for i in letters)
        words.insert(int(rng.integers(len(words) + 1)), word)
    return " ".join(words)
