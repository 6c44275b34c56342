"""Captions say only what a window shows, in many ways, in words of the vocabulary."""

from __future__ import annotations

import numpy as np
import pytest

from panoweave.core.embedded.training import phrases
from panoweave.core.embedded.training.captions import caption, vocabulary, with_adjectives
from panoweave.core.embedded.training.claims import Claims, claims_of
from panoweave.core.embedded.training.renderer import STYLES, TIMES, WEATHERS, Facts
from panoweave.core.embedded.training.tokenizer import MAX_TOKENS, build_tokenizer
from panoweave.core.vocabulary import unknown_words
from tests.embedded.training.pictures import make_facts, make_subject


def _claims(facts: Facts) -> Claims:
    subject = make_subject(facts)
    return claims_of(subject.window(40, 256), subject.numbers)


def _captions(claims: Claims, count: int = 400, style: str | None = None) -> list[str]:
    return [caption(np.random.default_rng(seed), claims, style) for seed in range(count)]


LAKE = make_facts({"water": 0.3, "ground": 0.1, "rock": 0.1}, peaks=0.2, biome="lake", time="dawn")


def test_mountains_are_named_only_where_they_show() -> None:
    with_peaks = _claims(LAKE)
    assert with_peaks.subjects[0] == "mountain lake"
    without = make_facts({"water": 0.3, "ground": 0.2}, biome="mountains", time="dawn")
    assert _claims(without).subjects == ("lake", "meadow")
    text = " ".join(_captions(_claims(without)))
    for word in ("mountain", "mountains", "peaks", "alps", "snow", "trees", "sunset", "night"):
        assert word not in text.replace(",", " ").split()


@pytest.mark.parametrize(
    ("facts", "claimed", "unclaimed"),
    [
        (make_facts({"trees": 0.4}, biome="forest"), {"conifer forest"}, {"meadow", "mountains"}),
        (make_facts({"snow": 0.4}, biome="snow"), {"snow"}, {"snowy forest", "snowy mountains"}),
        (make_facts({"ground": 0.4}, cones=0.3, biome="volcano"), {"volcano"}, {"lava field"}),
        (make_facts({"ground": 0.4}, biome="volcano"), {"lava field"}, {"volcano"}),
        (make_facts({"water": 0.3, "ground": 0.1}, biome="coast"), {"sea"}, {"beach", "lake"}),
        (make_facts({"rock": 0.4}, peaks=0.1, biome="canyon"), {"mesas"}, {"mountains"}),
        (make_facts({"sand": 0.5}, biome="desert"), {"dunes"}, {"beach"}),
    ],
)
def test_subjects(facts: Facts, claimed: set[str], unclaimed: set[str]) -> None:
    subjects = set(_claims(facts).subjects)
    assert claimed <= subjects
    assert not unclaimed & subjects


def test_weather_that_cannot_be_seen_is_not_claimed() -> None:
    assert _claims(make_facts({"ground": 0.5}, weather="cloudy")).weather is None
    covered = make_facts({"ground": 0.5, "cloud": 0.3}, weather="cloudy", clouds="cumulus")
    assert _claims(covered).weather == "cloudy"
    assert "cumulus" in _claims(covered).skies
    assert _claims(make_facts({"ground": 0.5, "cloud": 0.3}, weather="clear")).weather is None
    assert "moon" not in _claims(make_facts({"ground": 0.5}, time="night")).skies


def test_captions_vary_and_leave_out() -> None:
    texts = _captions(_claims(LAKE), 1000)
    assert len(set(texts)) > 600
    assert 0.06 < texts.count("") / len(texts) < 0.14
    generic = sum(text in phrases.GENERIC for text in texts)
    assert 0.02 < generic / len(texts) < 0.12
    timed = sum(
        any(word in text for word in ("dawn", "morning", "sunrise", "daybreak", "light", "rising"))
        for text in texts
    )
    assert 0.4 < timed / len(texts) < 0.8


def test_a_style_is_always_named() -> None:
    for text in _captions(_claims(LAKE), 300, style="ink wash"):
        assert not text or any(word in text for word in ("ink", "sumi-e")), text


def test_every_key_can_be_said() -> None:
    assert set(phrases.TIMES) == set(phrases.TIME_TAGS) == set(TIMES)
    assert set(phrases.WEATHERS) == set(phrases.WEATHER_TAGS) == set(WEATHERS)
    tables = (phrases.SUBJECTS, phrases.DETAILS, phrases.SKIES, phrases.MOODS, phrases.SEASONS)
    for table in tables:
        assert all(options for options in table.values())


def test_the_vocabulary_covers_the_captions() -> None:
    words = set(vocabulary())
    unknown = set()
    for facts in (LAKE, make_facts({"trees": 0.4}, biome="autumn", season="autumn")):
        for text in _captions(_claims(facts), 500):
            unknown.update(unknown_words(text, words))
    # Only the letters that were strewn in.
    assert len(unknown) < 120
    assert not {"lake", "dawn", "forest", "autumn"} & unknown


def test_known_words_are_one_token_and_captions_fit() -> None:
    tokenizer = build_tokenizer(vocabulary())
    for word in ("mountains", "snow-capped", "twilight", "volcano"):
        assert len(tokenizer(word).input_ids) <= 5
    assert len(tokenizer("mountains").input_ids) == 3
    lengths = [len(tokenizer(text).input_ids) for text in _captions(_claims(LAKE), 300)]
    assert max(lengths) <= MAX_TOKENS
    assert len(tokenizer("xylophone").input_ids) > 3  # unknown words fall apart


def test_adjectives_stand_behind_the_article() -> None:
    assert with_adjectives("a lake", ["icy"]) == "an icy lake"
    assert with_adjectives("an autumn forest", ["misty"]) == "a misty autumn forest"
    assert with_adjectives("fir trees", ["calm"]) == "calm fir trees"
    assert with_adjectives("a calm lake", ["calm"]) == "a calm lake"


def test_every_style_of_the_renderer_can_be_named() -> None:
    assert set(phrases.STYLE_OPENINGS) == set(phrases.STYLE_TAGS) == set(STYLES)
