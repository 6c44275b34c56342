"""Captions from a grammar: synonyms, claims left out at random, orders, fillers to ignore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from panoweave.core.embedded.training import phrases as p
from panoweave.core.embedded.training.claims import Claims

EMPTY = 0.10
GENERIC = 0.07
TAGS = 0.16
FILLED = 0.12
KEEP_TIME = 0.72
KEEP_WEATHER = 0.55
# A style that is drawn but not named would teach that any prompt may look so.
KEEP_STYLE = 1.0

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-'"


def caption(rng: np.random.Generator, claims: Claims, style: str | None = None) -> str:
    """One way to say, or half say, what a window shows. Empty for guidance one time in ten."""
    draw = rng.random()
    if draw < EMPTY:
        return ""
    said = _Draw(rng)
    if draw < EMPTY + GENERIC:
        text = said.one_of(p.GENERIC)
        if said.chance(0.25):
            text = f"{text} {said.one_of(p.TIMES[claims.time])}"
        parts = [text]
    elif draw < EMPTY + GENERIC + TAGS:
        parts = _tags(said, claims)
    else:
        parts = [_sentence(said, claims, style)]
        style = None
    if style and said.chance(KEEP_STYLE):
        parts.insert(0 if said.chance(0.4) else len(parts), said.one_of(p.STYLE_TAGS[style]))
    if said.chance(0.12):
        parts.append(said.one_of(p.QUALITY))
    text = ", ".join(parts)
    return _filled(said, text) if said.chance(FILLED) else text


def vocabulary() -> list[str]:
    """Every whole word that a caption can hold, in a fixed order; single letters left out."""
    texts: list[str] = [*p.OPENINGS, *p.GENERIC, *p.PRAISE, *p.QUALITY, *p.FILLER, "an"]
    tables: Sequence[p.Phrases] = (
        p.SUBJECTS, p.DETAILS, p.SKIES, p.TIMES, p.TIME_TAGS, p.TIME_ADJECTIVES, p.WEATHERS,
        p.WEATHER_TAGS, p.WEATHER_ADJECTIVES, p.SEASONS, p.MOODS, p.STYLE_OPENINGS, p.STYLE_TAGS,
    )  # fmt: skip
    for table in tables:
        for options in table.values():
            texts.extend(options)
    return sorted({word for text in texts for word in text.split()})


class _Draw:
    """Random choices, in the order in which they are asked for."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def order(self, parts: list[str]) -> list[str]:
        return [parts[int(i)] for i in self.rng.permutation(len(parts))]


def _subject(said: _Draw, claims: Claims) -> str:
    """Mostly what the window is first of all, sometimes what else it is."""
    key = claims.subjects[0] if said.chance(0.65) else said.one_of(claims.subjects)
    return said.one_of(p.SUBJECTS[key])


def _sentence(said: _Draw, claims: Claims, style: str | None) -> str:
    place = _subject(said, claims)
    has_time = said.chance(KEEP_TIME)
    has_weather = claims.weather is not None and said.chance(KEEP_WEATHER)
    after: list[str] = []
    adjectives: list[str] = []
    if has_time:
        if claims.time in p.TIME_ADJECTIVES and said.chance(0.12):
            adjectives.append(said.one_of(p.TIME_ADJECTIVES[claims.time]))
        else:
            after.append(said.one_of(p.TIMES[claims.time]))
    if has_weather:
        assert claims.weather is not None
        if claims.weather in p.WEATHER_ADJECTIVES and said.chance(0.25):
            adjectives.append(said.one_of(p.WEATHER_ADJECTIVES[claims.weather]))
        else:
            after.append(said.one_of(p.WEATHERS[claims.weather]))
    if claims.skies and said.chance(0.3):
        after.append(said.one_of(p.SKIES[said.one_of(claims.skies)]))
    if claims.season and said.chance(0.15):
        after.append(said.one_of(p.SEASONS[claims.season]))
    if claims.moods and said.chance(0.15):
        adjectives.append(said.one_of(p.MOODS[said.one_of(claims.moods)]))
    if said.chance(0.06):
        adjectives.insert(0, said.one_of(p.PRAISE))
    place = with_adjectives(place, adjectives[:2])
    after = said.order(after)
    if claims.details and said.chance(0.35):
        detail = p.DETAILS[said.one_of(claims.details)]
        after.insert(0 if said.chance(0.8) else len(after), said.one_of(detail))
    if after and said.chance(0.1):
        # "at dawn, a lake with reflections"
        first = after.pop()
        place = f"{first}, {place}"
    elif style:
        place = f"{said.one_of(p.STYLE_OPENINGS[style])} {place}"
        style = None
    elif said.chance(0.3):
        place = f"{said.one_of(p.OPENINGS)} {place}"
    text = " ".join([place, *after])
    return f"{text}, {said.one_of(p.STYLE_TAGS[style])}" if style else text


def _tags(said: _Draw, claims: Claims) -> list[str]:
    parts = [_without_article(_subject(said, claims))]
    if said.chance(KEEP_TIME):
        parts.append(said.one_of(p.TIME_TAGS[claims.time]))
    if claims.weather is not None and said.chance(KEEP_WEATHER):
        parts.append(said.one_of(p.WEATHER_TAGS[claims.weather]))
    if claims.moods and said.chance(0.2):
        parts.append(said.one_of(p.MOODS[said.one_of(claims.moods)]))
    if claims.season and said.chance(0.15):
        parts.append(claims.season)
    others = [subject for subject in claims.subjects[1:] if subject != "open land"]
    if others and said.chance(0.4):
        parts.append(_without_article(said.one_of(p.SUBJECTS[said.one_of(others)])))
    return said.order(parts) if said.chance(0.35) else parts


def with_adjectives(place: str, adjectives: Sequence[str]) -> str:
    """Adjectives behind the article, which is then made to fit; words that are there stay once."""
    article, _, rest = place.partition(" ")
    if article not in ("a", "an", "the"):
        article, rest = "", place
    there = set(rest.split())
    rest = " ".join([*(word for word in dict.fromkeys(adjectives) if word not in there), rest])
    if article in ("a", "an"):
        article = "an" if rest[0] in "aeiou" else "a"
    return f"{article} {rest}".strip()


def _without_article(text: str) -> str:
    article, _, rest = text.partition(" ")
    return rest if article in ("a", "an", "the") and rest else text


def _filled(said: _Draw, text: str) -> str:
    """Strews in words that mean nothing here, so that strange prompts do no harm."""
    words = text.split()
    for _ in range(int(said.rng.integers(1, 4))):
        if said.chance(0.6):
            word = said.one_of(p.FILLER)
        else:
            letters = said.rng.integers(len(_LETTERS), size=int(said.rng.integers(2, 7)))
            word = "".join(_LETTERS[int(i)] for i in letters)
        words.insert(int(said.rng.integers(len(words) + 1)), word)
    return " ".join(words)
