"""Held-out renders are kept, go on where they stopped, and are none of the training's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.quality.labels import ATTRIBUTES, VALUES, labels_of
from bench.quality.renders import HELD_OUT_SEED, HeldOut, held_out
from panoweave.core.embedded.training import rendering
from panoweave.core.embedded.training.renderer import (
    Facts,
    Scene,
    render_with_facts,
    sample_scene,
)
from panoweave.core.embedded.training.stages import Recipe
from tests.embedded.training.pictures import COLUMNS, make_facts
from tests.quality.conftest import SIDE, draw

CPU = torch.device("cpu")


def silent(indices: Iterable[int]) -> Iterable[int]:
    return indices


def test_an_interrupted_count_goes_on_where_it_was(renders: HeldOut, tmp_path: Path) -> None:
    drawn: list[int] = []

    def draw_two(folder: Path, index: int) -> None:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(index)
        draw(folder, index)

    with pytest.raises(KeyboardInterrupt):
        replace(renders, count=3, draw=draw_two).make(silent)
    again: list[int] = []

    def draw_rest(folder: Path, index: int) -> None:
        again.append(index)
        draw(folder, index)

    resumed = replace(renders, count=3, draw=draw_rest).make(silent)
    unbroken = HeldOut(tmp_path / "unbroken", 3, draw).make(silent)
    assert (drawn, again) == ([0, 1], [2])
    for one, other in zip(resumed, unbroken, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.labels == other.labels
        assert one.image.size == (COLUMNS, SIDE)
        assert len(one.labels) == COLUMNS // SIDE


def test_held_out_scenes_are_not_the_trainings() -> None:
    recipe = Recipe()
    trained = {
        sample_scene(rng).seed
        for rng in (np.random.default_rng([recipe.seed, shard]) for shard in range(10))
        for _ in range(recipe.scenes_per_shard)
    }
    ours = {sample_scene(np.random.default_rng([HELD_OUT_SEED, i])).seed for i in range(10)}
    assert len(trained) == 10 * recipe.scenes_per_shard
    assert not ours & trained


def test_renders_are_of_the_held_out_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Scene] = []

    def remember(scenes: Sequence[Scene], _: torch.device) -> tuple[torch.Tensor, list[Facts]]:
        seen.extend(scenes)
        picture = torch.full((1, 3, SIDE, COLUMNS), len(seen), dtype=torch.uint8)
        return picture, [make_facts({"water": 0.5}, biome="coast", time=scenes[0].time)]

    monkeypatch.setattr(rendering, "render_with_facts", remember)
    drawn = held_out(tmp_path, 2, 256, CPU).make(silent)
    assert seen == [sample_scene(np.random.default_rng([HELD_OUT_SEED, i])) for i in range(2)]
    for scene, render in zip(seen, drawn, strict=True):
        assert all(labels["biome"] == {"sea"} for labels in render.labels)
        assert all(
            labels["time"] == labels_of(f"at {scene.time}")["time"] for labels in render.labels
        )
    assert [render.image.getpixel((0, 0)) for render in drawn] == [(1, 1, 1), (2, 2, 2)]


@pytest.mark.slow
def test_the_renderer_draws_a_panorama_all_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(render_with_facts, width=512, height=64, supersample=1)
    monkeypatch.setattr(rendering, "render_with_facts", small)
    (render,) = held_out(tmp_path, 1, 256, CPU).make(silent)
    scene = sample_scene(np.random.default_rng([HELD_OUT_SEED, 0]))
    assert render.image.size == (512, 64)
    assert np.asarray(render.image).std() > 10
    assert len(render.labels) == 8
    for labels in render.labels:
        assert len(labels["time"]) == 1
        assert labels["weather"] <= {scene.weather}
        assert all(labels[attribute] <= set(VALUES[attribute]) for attribute in ATTRIBUTES)


def test_no_renders_for_windows_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"512 px.*256 px.*--reference singles"):
        held_out(tmp_path, 8, 512, CPU)
