"""Labels are what a window shows, and what a prompt names in the captions' words."""

from __future__ import annotations

import numpy as np
import pytest

from bench.quality.labels import ATTRIBUTES, SUBJECT_OF, VALUES, labels_of, labels_of_window
from bench.quality.prompts import OPEN, labelled
from panoweave.core.embedded.training import captions, phrases
from panoweave.core.embedded.training.claims import Claims, claims_of
from panoweave.core.embedded.training.renderer import Facts
from panoweave.core.vocabulary import unknown_words
from tests.embedded.training.pictures import make_facts, make_subject

LAKE = make_facts({"water": 0.3, "ground": 0.1, "rock": 0.1}, peaks=0.2, biome="lake", time="dawn")
WOODS = make_facts({"trees": 0.4, "cloud": 0.4}, biome="autumn", weather="cloudy", time="sunset")
SHORE = make_facts({"water": 0.3, "rock": 0.1}, peaks=0.2, biome="coast", weather="stormy")
SNOW = make_facts({"snow": 0.3, "trees": 0.3}, biome="snow", weather="foggy", time="night")


def _claims(facts: Facts) -> Claims:
    subject = make_subject(facts)
    return claims_of(subject.window(40, 256), subject.numbers)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (LAKE, ({"lake", "mountains"}, {"low sun"}, {"clear"})),
        (WOODS, ({"autumn", "forest"}, {"low sun"}, {"cloudy"})),
        (SHORE, ({"sea", "mountains"}, {"day"}, {"stormy"})),
        (SNOW, ({"snow", "forest"}, {"night"}, {"foggy"})),
        # A lake scene's window that looks away from the water, and clouds that it hides.
        (make_facts({"trees": 0.5}, biome="lake", weather="cloudy"), ({"forest"}, {"day"}, set())),
        (make_facts({"ground": 0.4}, biome="volcano"), (set(), {"day"}, {"clear"})),
    ],
)
def test_a_window_is_labelled_by_what_it_shows(
    facts: Facts, expected: tuple[set[str], set[str], set[str]]
) -> None:
    assert labels_of_window(_claims(facts)) == dict(zip(ATTRIBUTES, expected, strict=True))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a mountain lake at dawn", {"lake", "mountains", "low sun"}),
        ("Snowy mountain peaks under the stars", {"mountains", "night", "clear"}),
        ("the sea at midnight", {"sea", "night"}),
        ("the sea at dusk under a stormy sky", {"sea", "twilight", "stormy"}),
        ("an autumn forest in the mist", {"autumn", "forest", "foggy"}),
        ("a sea of sand", {"desert"}),
        ("forest, lake", {"forest", "lake"}),
        ("a landscape with a lake in the forest", {"lake"}),
        ("a forest on a summer day", {"forest"}),
        ("a mountain lake with clear water", {"lake", "mountains"}),
        ("a dark canyon", {"canyon"}),
        ("a landscape", set()),
    ],
)
def test_prompts_name_labels(prompt: str, expected: set[str]) -> None:
    found = labels_of(prompt)
    assert set().union(*found.values()) == expected
    assert all(found[attribute] <= set(VALUES[attribute]) for attribute in ATTRIBUTES)


@pytest.mark.parametrize("facts", [LAKE, WOODS, SHORE, SNOW])
def test_captions_name_no_label_that_their_window_does_not_show(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "FILLED", 0.0)  # words strewn in break phrases apart
    claims = _claims(facts)
    shown = labels_of_window(claims)
    named = dict.fromkeys(ATTRIBUTES, 0)
    for seed in range(300):
        text = captions.caption(np.random.default_rng(seed), claims)
        found = labels_of(text)
        for attribute in ATTRIBUTES:
            assert found[attribute] <= shown[attribute], text
            named[attribute] += bool(found[attribute])
    assert min(named.values()) > 75


def test_labelled_prompts_name_every_label_in_words_that_the_model_knows() -> None:
    prompts = labelled()
    words = set(captions.vocabulary())
    assert [word for prompt in (*prompts, *OPEN) for word in unknown_words(prompt, words)] == []
    found = [labels_of(prompt) for prompt in prompts]
    for attribute in ATTRIBUTES:
        assert all(each[attribute] for each in found)
        assert set().union(*(each[attribute] for each in found)) == set(VALUES[attribute])


def test_every_subject_has_its_biomes() -> None:
    assert set(SUBJECT_OF.values()) <= set(phrases.SUBJECTS)
    for biome, subject in SUBJECT_OF.items():
        assert biome in labels_of(phrases.SUBJECTS[subject][0])["biome"]
