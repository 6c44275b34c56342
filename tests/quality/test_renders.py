"""Held-out renders are kept, go on where they stopped, and are none of the training's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.quality.labels import labels_of
from bench.quality.renders import (
    HELD_OUT_SEED,
    RENDERERS,
    Render,
    make_renders,
    renderer_for,
)
from panoweave.core.embedded import scenes
from panoweave.core.embedded.training.stages import Recipe

SCENES = renderer_for(128)


def silent(indices: Iterable[int]) -> Iterable[int]:
    return indices


def test_an_interrupted_count_goes_on_where_it_was(tmp_path: Path) -> None:
    drawn: list[np.random.Generator] = []

    def draw(rng: np.random.Generator) -> Render:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(rng)
        return SCENES.draw(rng)

    with pytest.raises(KeyboardInterrupt):
        make_renders(replace(SCENES, draw=draw), tmp_path / "a", 3, silent)
    resumed = make_renders(SCENES, tmp_path / "a", 3, silent)
    unbroken = make_renders(SCENES, tmp_path / "b", 3, silent)
    for one, other in zip(resumed, unbroken, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.labels == other.labels
        assert one.image.size == (768, 128)
    assert not list(tmp_path.rglob("*.part"))


def test_held_out_scenes_are_not_the_trainings() -> None:
    assert Recipe().seed != HELD_OUT_SEED
    held_out, _ = scenes.render_scene(np.random.default_rng([HELD_OUT_SEED, 0]))
    trained, _ = scenes.render_scene(np.random.default_rng([Recipe().seed, 0]))
    assert np.abs(held_out - trained).mean() > 0.01


def test_no_renderer_for_other_windows() -> None:
    with pytest.raises(SystemExit, match=r"512 px.*128 or 256 px.*--reference singles"):
        renderer_for(512)


@pytest.mark.slow
def test_panoramas_of_the_second_renderer_have_labels_for_each_window() -> None:
    render = renderer_for(256).draw(np.random.default_rng([HELD_OUT_SEED, 0]))
    assert render.image.size == (1536, 256)
    assert isinstance(render.image, Image.Image)
    assert len(render.labels) == 6
    assert {labels["biome"] for labels in render.labels} <= set(RENDERERS[1].legal["biome"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a mountain lake at dawn", ("lake", "dawn", None)),
        ("Snowy mountain peaks under the stars", ("snow", None, None)),
        ("the sea at midnight", ("coast", None, None)),
        ("the sea at dusk under a stormy sky", ("coast", "twilight", "stormy")),
        ("an autumn forest in the mist", ("autumn", None, "foggy")),
        ("a landscape", (None, None, None)),
    ],
)
def test_prompts_name_labels(prompt: str, expected: tuple[str | None, ...]) -> None:
    found = labels_of(prompt, RENDERERS[1].legal)
    assert (found["biome"], found["time"], found["weather"]) == expected
