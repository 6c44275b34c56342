"""What is said of a window agrees with its pixels, measured another way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from torch import Tensor

from panoweave.core.embedded.training.renderer import (
    BIOMES,
    CLASSES,
    Facts,
    Scene,
    window_attributes,
)
from tests.embedded.renderer.conftest import HEIGHT, WIDTH, scene, small

Noon = tuple[Tensor, list[Facts]]


def _blue_from_above(picture: Tensor) -> Tensor:
    """Which pixels (H, W) are blue, down from the upper edge without a gap: a clear sky."""
    red, _, blue = picture.float()
    sky: Tensor = ((blue > red * 1.04) & (blue > 80)).float().cummin(0).values
    return sky


@pytest.mark.slow
def test_shares_sum_to_one(noon: Noon) -> None:
    for facts in noon[1]:
        window = window_attributes(facts, 30, 64)
        assert set(window.shares) == set(CLASSES)
        assert sum(window.shares.values()) == pytest.approx(1, abs=0.02)
        assert window.sky + window.land == pytest.approx(1)


@pytest.mark.slow
def test_sky_is_where_the_picture_is_blue_from_above(noon: Noon) -> None:
    said, seen = [], []
    for picture, facts in zip(*noon, strict=True):
        blue = _blue_from_above(picture)
        for x0 in range(0, WIDTH, 24):
            said.append(window_attributes(facts, x0, 24).sky)
            seen.append(float(blue[:, x0 : x0 + 24].mean()))
    assert len(said) == 192
    assert np.corrcoef(said, seen)[0, 1] > 0.8
    assert float(np.median(np.abs(np.array(said) - np.array(seen)))) < 0.03


@pytest.mark.slow
def test_mountains_stand_where_the_skyline_is_high(noon: Noon, noon_scenes: list[Scene]) -> None:
    index = BIOMES.index("mountains")
    horizon = noon_scenes[index].numbers["horizon"]
    blue = _blue_from_above(noon[0][index])
    rises = horizon - blue.sum(0).numpy() / HEIGHT  # share of the height, by column
    windows = [window_attributes(noon[1][index], x0, 48) for x0 in range(0, WIDTH, 48)]
    assert sum(window.peak_visible for window in windows) >= 6
    assert 0.12 < float(np.median([window.peak_height for window in windows])) < 0.40
    for i, window in enumerate(windows):
        if window.peak_height > 0.1:
            # Snow in shade is as blue as the sky: what looks like sky may reach into a summit.
            assert rises[i * 48 : i * 48 + 48].max() > 0.6 * window.peak_height


def test_a_desert_without_mountains_shows_none() -> None:
    drawn = (scene("desert", "noon", "clear", seed) for seed in range(9))
    flat = next(found for found in drawn if not found.numbers["mountain"])
    _, facts = small([flat])
    for x0 in range(0, WIDTH, 48):
        window = window_attributes(facts[0], x0, 48)
        assert not window.peak_visible
        assert window.shares["water"] == 0
        assert window.dominant == "desert"


@pytest.mark.slow
def test_water_is_said_of_lakes_and_coasts_only(noon: Noon) -> None:
    shares = {f.biome: window_attributes(f, 0, WIDTH).shares["water"] for f in noon[1]}
    assert shares["lake"] > 0.1
    assert shares["coast"] > 0.05
    for dry in ("desert", "canyon", "meadow", "forest", "savanna", "volcano"):
        assert shares[dry] == 0


@pytest.mark.slow
def test_water_shows_the_sky_and_land_does_not(noon: Noon) -> None:
    """In columns of water the rows under the horizon are blue; under grass they are not."""
    index = BIOMES.index("lake")
    red, _, blue = noon[0][index].float()
    water = noon[1][index].columns[CLASSES.index("water")] / 255
    below = slice(int(HEIGHT * 0.75), HEIGHT)
    blueness = (blue - red)[below].mean(0).numpy()
    assert blueness[water > 0.35].mean() > blueness[water < 0.1].mean() + 15


@pytest.mark.slow
def test_a_sun_that_is_said_to_show_is_bright() -> None:
    biomes = ("desert", "coast", "savanna", "desert", "savanna", "canyon")
    pictures, facts = small([scene(biome, "sunset", "clear", i) for i, biome in enumerate(biomes)])
    shown = [pair for pair in zip(pictures, facts, strict=True) if pair[1].sun_shown]
    assert len(shown) >= 2
    for picture, fact in shown:
        x = int(fact.sun_x)
        lum = picture.float().mean(0)
        assert float(lum[:, max(x - 1, 0) : x + 2].max()) > 215
        assert window_attributes(fact, x - 16, 32).sun_visible
        assert not window_attributes(fact, x + 60, 32).sun_visible
        assert not window_attributes(fact, x - 16, 32).moon_visible


def test_a_lake_at_dawn_shows_lake_mountains_and_a_warm_horizon() -> None:
    times = ("dawn", "dawn", "noon", "noon")
    pictures, facts = small([scene("lake", time, "clear", i % 2) for i, time in enumerate(times)])
    horizon = pictures.float()[:, :, HEIGHT // 3 : HEIGHT * 6 // 10]
    warmth = (horizon[:, 0] - horizon[:, 2]).mean((1, 2))
    for i in range(2):
        windows = [window_attributes(facts[i], x0, 48) for x0 in range(0, WIDTH, 48)]
        assert all(window.time == "dawn" for window in windows)
        assert sum(window.shares["water"] > 0.08 for window in windows) >= 5
        assert sum(window.peak_visible for window in windows) >= 5
        assert float(warmth[i]) > float(warmth[i + 2]) + 10


@pytest.mark.slow
def test_windows_cross_the_seam(noon: Noon) -> None:
    facts = noon[1][0]
    assert window_attributes(facts, WIDTH - 16, 32) == window_attributes(facts, -16, 32)
    with pytest.raises(ValueError, match="width must be 1 to 384 columns, not 400"):
        window_attributes(facts, 0, 400)


@pytest.mark.slow
def test_facts_are_read_back_as_they_were_stored(noon: Noon) -> None:
    facts = noon[1][5]
    stored = json.loads(json.dumps(facts.to_json()))
    again = Facts.from_json(stored, facts.columns.copy())
    assert window_attributes(again, 40, 64) == window_attributes(facts, 40, 64)
