"""Scenes: drawn alike from the same state, complete, and what their names say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from panoweave.core.embedded.training.renderer import BIOMES, TIMES, WEATHERS, sample_scene
from panoweave.core.embedded.training.renderer.dice import Draft


def test_the_same_state_draws_the_same_scene() -> None:
    a, b = (sample_scene(np.random.default_rng(3)) for _ in range(2))
    assert a == b
    assert a != sample_scene(np.random.default_rng(4))


def test_every_combination_can_be_drawn_with_the_same_numbers() -> None:
    names = set(sample_scene(np.random.default_rng(0)).numbers)
    for i, (biome, time, weather) in enumerate(itertools.product(BIOMES, TIMES, WEATHERS)):
        drawn = sample_scene(np.random.default_rng(i), biome, time, weather)
        assert (drawn.biome, drawn.time, drawn.weather) == (biome, time, weather)
        assert set(drawn.numbers) == names
        assert all(np.isfinite(value) for value in drawn.numbers.values())


def test_a_mountain_lake_at_dawn_has_water_mountains_and_a_low_sun() -> None:
    for seed in range(20):
        numbers = sample_scene(np.random.default_rng(seed), "lake", "dawn").numbers
        assert numbers["lake"] == numbers["water"] == 1
        assert numbers["mountain"] >= 1000
        assert 0 < numbers["sun_el"] < 0.11
        assert numbers["night"] == 0


@pytest.mark.parametrize(
    ("field", "value"), [("biome", "jungle"), ("time", "tea"), ("weather", "hail")]
)
def test_unknown_names_are_refused_with_the_legal_ones(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be one of .*, not '{value}'"):
        sample_scene(np.random.default_rng(0), **{field: value})


def test_a_number_that_no_scene_has_is_refused() -> None:
    with pytest.raises(KeyError, match="no such number or colour: mountian"):
        Draft(np.random.default_rng(0)).set(mountian=1.0)
