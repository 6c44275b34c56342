"""Biome, time and weather: of rendered windows, and as prompts name them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

Attribute = Literal["biome", "time", "weather"]
ATTRIBUTES: Final[Sequence[Attribute]] = get_args(Attribute)

# None: the window does not show it, or the prompt does not name it.
Labels = Mapping[Attribute, str | None]

# Longer phrases come first: "a snowy forest" is winter, "an autumn forest" autumn.
_WORDS: Final[Mapping[Attribute, Sequence[tuple[str, str]]]] = {
    "biome": (
        ("rice terraces|terraces", "terraces"),
        ("savanna", "savanna"),
        ("volcano", "volcano"),
        ("canyon", "canyon"),
        ("autumn", "autumn"),
        ("snow|snowy|winter", "snow"),
        ("desert|dunes", "desert"),
        ("lake", "lake"),
        ("sea|ocean", "sea"),
        ("forest|woods", "forest"),
        ("meadow", "meadow"),
        ("mountain|mountains", "mountains"),
    ),
    "time": (
        ("dawn|sunrise", "dawn"),
        ("morning", "morning"),
        ("noon|midday", "noon"),
        ("sunset", "sunset"),
        ("twilight|dusk", "twilight"),
        ("night", "night"),
    ),
    "weather": (
        ("clear", "clear"),
        ("clouds|cloudy|overcast", "cloudy"),
        ("fog|foggy|mist|misty", "foggy"),
        ("storm|stormy", "stormy"),
    ),
}

# How the built-in prompts name a label.
PHRASES: Final[Mapping[str, str]] = {
    "mountains": "mountains",
    "lake": "a lake",
    "coast": "the sea",
    "sea": "the sea",
    "desert": "a desert",
    "canyon": "a canyon",
    "meadow": "a meadow",
    "forest": "a forest",
    "autumn": "an autumn forest",
    "snow": "a snowy landscape",
    "savanna": "a savanna",
    "volcano": "a volcano",
    "terraces": "rice terraces",
    "dawn": "at dawn",
    "morning": "in the morning",
    "noon": "at noon",
    "sunset": "at sunset",
    "twilight": "at twilight",
    "night": "at night",
    "clear": "under a clear sky",
    "cloudy": "under clouds",
    "foggy": "in the fog",
    "stormy": "under a stormy sky",
}
_SEA: Final = ("sea", "coast")  # the two renderers' names of one thing


def labels_of(prompt: str, legal: Mapping[Attribute, Sequence[str]]) -> dict[Attribute, str | None]:
    """What a prompt asks for, as far as a renderer has a name for it."""
    found: dict[Attribute, str | None] = {}
    for attribute in ATTRIBUTES:
        named = next(
            (
                label
                for words, label in _WORDS[attribute]
                if re.search(rf"\b(?:{words})\b", prompt, re.IGNORECASE)
            ),
            None,
        )
        names = _SEA if named in _SEA else (named,)
        found[attribute] = next((name for name in names if name in legal[attribute]), None)
    return found
