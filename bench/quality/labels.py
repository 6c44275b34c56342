"""Biome, time and weather: of windows, by what they show, and as prompts name them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, get_args

from panoweave.core.embedded.training import phrases
from panoweave.core.embedded.training.claims import Claims
from panoweave.core.embedded.training.renderer import WEATHERS

Attribute = Literal["biome", "time", "weather"]
ATTRIBUTES: Final[Sequence[Attribute]] = get_args(Attribute)

# A window can show several biomes: a lake below mountains. No time or weather: the window does not
# show it, or the prompt does not name it.
Labels = Mapping[Attribute, frozenset[str]]


# What a window shows of the time. The classifier takes dawns for sunsets and mornings for noons too
# often for a figure that means anything: docs/LOG.md, "Times that a window hardly shows".
_LIGHTS: Final[Mapping[str, str]] = {
    "dawn": "low sun",
    "morning": "day",
    "noon": "day",
    "sunset": "low sun",
    "twilight": "twilight",
    "night": "night",
}


def _labels(
    biome: Sequence[str] = (), time: Sequence[str] = (), weather: Sequence[str] = ()
) -> Labels:
    return {
        "biome": frozenset(biome),
        "time": frozenset(_LIGHTS[each] for each in time),
        "weather": frozenset(weather),
    }


# Every biome, and the subject of captions that names it alone.
SUBJECT_OF: Final[Mapping[str, str]] = {
    "mountains": "mountains",
    "lake": "lake",
    "sea": "sea",
    "desert": "dunes",
    "canyon": "canyon",
    "meadow": "meadow",
    "forest": "conifer forest",
    "autumn": "autumn forest",
    "snow": "snow",
    "savanna": "savanna",
    "volcano": "volcano",
    "terraces": "terraces",
}
VALUES: Final[Mapping[Attribute, Sequence[str]]] = {
    "biome": tuple(SUBJECT_OF),
    "time": tuple(dict.fromkeys(_LIGHTS.values())),
    "weather": WEATHERS,
}

# The biomes that each subject of captions shows.
_BIOMES: Final[Mapping[str, tuple[str, ...]]] = {
    "sea": ("sea",),
    "cliffs": ("sea",),
    "beach": ("sea",),
    "lake": ("lake",),
    "mountain lake": ("lake", "mountains"),
    "forest lake": ("lake",),  # a few trees are enough for it
    "mountains": ("mountains",),
    "snowy peaks": ("mountains",),
    "snowy mountains": ("snow", "mountains"),
    "volcano": ("volcano",),
    "lava field": (),
    "snow": ("snow",),
    "snowy forest": ("snow", "forest"),
    "autumn forest": ("autumn", "forest"),
    "autumn trees": ("autumn",),
    "conifer forest": ("forest",),
    "leafy forest": ("forest",),
    "savanna": ("savanna",),
    "terraces": ("terraces",),
    "flooded terraces": ("terraces",),
    "canyon": ("canyon",),
    "mesas": ("canyon",),
    "dunes": ("desert",),
    "meadow": ("meadow",),
    "alpine meadow": ("meadow", "mountains"),
    "flower meadow": ("meadow",),
    "open land": (),
}
# The details and skies of captions that say one of the labels.
_DETAILS: Final = {"distant mountains": ("mountains",)}
_SKIES: Final[Mapping[str, Labels]] = {
    "cumulus": _labels(weather=["cloudy"]),
    "overcast": _labels(weather=["cloudy"]),
    "wisps": _labels(weather=["cloudy"]),
    "blue sky": _labels(weather=["clear"]),
    "sunshine": _labels(weather=["clear"]),
    "stars": _labels(time=["night"], weather=["clear"]),
    "afterglow": _labels(time=["twilight"], weather=["clear"]),
    "red sky": _labels(time=["sunset"]),
    "moon": _labels(time=["night"]),
    "rain": _labels(weather=["stormy"]),
}
_ARTICLES: Final = ("a", "an", "the")
# Alone it says as much of water or air as of the weather.
_AMBIGUOUS: Final = "clear"


def labels_of_window(claims: Claims) -> Labels:
    """What a window shows, by what may be said of it."""
    biomes = [biome for subject in claims.subjects for biome in _BIOMES[subject]]
    biomes += [biome for detail in claims.details for biome in _DETAILS.get(detail, ())]
    weathers = [] if claims.weather is None else [claims.weather]
    return _labels(biome=biomes, time=[claims.time], weather=weathers)


def labels_of(prompt: str) -> Labels:
    """What a prompt asks for, as far as the training's captions have words for it."""
    found: dict[Attribute, set[str]] = {attribute: set() for attribute in ATTRIBUTES}
    for clause in re.split(r"[,.;:!?()]", prompt.lower()):
        words = clause.split()
        while words:
            length = next(
                (n for n in range(_LONGEST, 0, -1) if " ".join(words[:n]) in _MEANINGS), 0
            )
            if length:
                for attribute, labels in _MEANINGS[" ".join(words[:length])].items():
                    found[attribute] |= labels
            words = words[max(length, 1) :]
    return {attribute: frozenset(labels) for attribute, labels in found.items()}


def prompt_for(biome: str, time: str, weather: str) -> str:
    """In the captions' plainest words."""
    return " ".join(
        [
            phrases.SUBJECTS[SUBJECT_OF[biome]][0],
            phrases.TIMES[time][0],
            phrases.WEATHERS[weather][0],
        ]
    )


def _uses() -> Iterator[tuple[str, Labels]]:
    """Every phrase of the captions, with what it says there."""
    for table in (phrases.TIMES, phrases.TIME_TAGS, phrases.TIME_ADJECTIVES):
        for time, options in table.items():
            yield from ((option, _labels(time=[time])) for option in options)
    for table in (phrases.WEATHERS, phrases.WEATHER_TAGS, phrases.WEATHER_ADJECTIVES):
        for weather, options in table.items():
            yield from ((option, _labels(weather=[weather])) for option in options)
    for subject, options in phrases.SUBJECTS.items():
        yield from ((option, _labels(biome=_BIOMES[subject])) for option in options)
    for detail, options in phrases.DETAILS.items():
        yield from ((option, _labels(biome=_DETAILS.get(detail, ()))) for option in options)
    for sky, options in phrases.SKIES.items():
        said = _SKIES.get(sky, _labels())
        yield from ((option, said) for option in options)
    for table in (phrases.SEASONS, phrases.MOODS):
        yield from ((option, _labels()) for options in table.values() for option in options)
    yield from ((opening, _labels()) for opening in phrases.OPENINGS)
    yield _AMBIGUOUS, _labels()


def _meanings() -> dict[str, Labels]:
    """What all uses of a phrase have in common, by the phrase without its article."""
    found: dict[str, Labels] = {}
    for phrase, said in _uses():
        article, _, rest = phrase.partition(" ")
        key = rest if article in _ARTICLES else phrase
        before = found.get(key, said)
        found[key] = {attribute: before[attribute] & said[attribute] for attribute in ATTRIBUTES}
    return found


_MEANINGS: Final = _meanings()
_LONGEST: Final = max(len(phrase.split()) for phrase in _MEANINGS)
