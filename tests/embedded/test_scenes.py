"""The renderer: repeatable, in one style within a scene, in many between scenes."""

import numpy as np
import pytest

from panoweave.core.embedded.scenes import WINDOW_PX, cut_windows, render_scene
from panoweave.core.embedded.shards import WINDOWS_PER_SCENE, render_shard, subject_at
from panoweave.core.embedded.style import BIOMES, TIMES, WEATHERS, Subject


def test_the_same_seed_gives_the_same_scene() -> None:
    first, first_subject = render_scene(np.random.default_rng(5))
    again, again_subject = render_scene(np.random.default_rng(5))
    other, _ = render_scene(np.random.default_rng(6))
    assert first_subject == again_subject
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


@pytest.mark.parametrize("biome", BIOMES)
def test_every_subject_gives_a_picture(biome: str) -> None:
    rng = np.random.default_rng(0)
    for time in TIMES:
        for weather in WEATHERS:
            scene, _ = render_scene(rng, Subject(biome, time, weather), width_px=160)
            assert scene.shape == (WINDOW_PX, 160, 3)
            assert np.isfinite(scene).all()
            assert scene.min() >= 0
            assert scene.max() <= 1
            assert scene.std() > 0.01, f"{time}, {weather}: flat"


def test_windows_of_a_scene_share_its_colours_and_scenes_differ() -> None:
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(60):
        scene, _ = render_scene(rng)
        pairs.append([_colours(window) for window in cut_windows(rng, scene, 2)])
    colours = np.array(pairs)  # (scenes, 2, statistics)
    within = np.linalg.norm(colours[:, 0] - colours[:, 1], axis=1).mean()
    between = np.linalg.norm(colours[:, 0] - np.roll(colours[:, 1], 1, axis=0), axis=1).mean()
    assert within < 0.25 * between


def test_one_biome_alone_leaves_the_style_open() -> None:
    rng = np.random.default_rng(2)
    colours = []
    for i in range(40):
        subject = Subject("mountains", TIMES[i % len(TIMES)], WEATHERS[i % len(WEATHERS)])
        scene, _ = render_scene(rng, subject, width_px=WINDOW_PX)
        colours.append(scene.mean((0, 1)))
    assert np.std(colours, axis=0).min() > 0.12


def test_time_and_biome_show_in_the_colours() -> None:
    rng = np.random.default_rng(3)

    def mean_colour(biome: str, time: str) -> np.ndarray:
        subject = Subject(biome, time, "clear")
        scenes = np.stack([render_scene(rng, subject)[0] for _ in range(8)])
        colour: np.ndarray = scenes.mean((0, 1, 2))
        return colour

    noon, night = mean_colour("mountains", "noon"), mean_colour("mountains", "night")
    assert noon.mean() > 2.5 * night.mean()
    meadow, desert = mean_colour("meadow", "noon"), mean_colour("desert", "noon")
    assert meadow[1] - meadow[0] > 0.05 + desert[1] - desert[0]


def test_a_shard_holds_windows_with_their_subjects() -> None:
    shard = render_shard(seed=0, index=2, scenes=2)
    assert shard.pictures.shape == (2 * WINDOWS_PER_SCENE, WINDOW_PX, WINDOW_PX, 3)
    subjects = [subject_at(row) for row in shard.subjects]
    assert len(set(subjects[:WINDOWS_PER_SCENE])) == 1
    other = render_shard(seed=0, index=3, scenes=2)
    assert (shard.pictures != other.pictures).any()


def _colours(window: np.ndarray) -> np.ndarray:
    return np.concatenate([window.mean((0, 1)), window.std((0, 1))])
