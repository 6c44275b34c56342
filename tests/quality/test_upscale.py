"""`upscale` is compared with enlarging alone, on pictures that are made and measured once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from bench.quality import large_pictures
from bench.quality.large_pictures import CropMeter, LargeRenders, UpscaledPanoramas
from bench.quality.plots import REAL
from bench.quality.renders import HELD_OUT_SEED
from bench.quality.runs import Meter
from bench.quality.upscale import (
    ENLARGED,
    REAL_ENLARGED,
    SHARPENED,
    UPSCALED,
    as_table,
    compare,
)
from panoweave.core.embedded.training.renderer import Scene, render, sample_scene
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny
from tests.quality.conftest import SIDE

CPU = torch.device("cpu")


def test_a_panorama_before_upscale_is_that_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = tiny.pipeline(tmp_path / "model")
    sync = SyncParams(weight=0)
    asked = PanoramaParams(
        prompt="a lake", seed=3, width=96, stride=32, steps=1, upscale=2, sync=sync
    )
    made = UpscaledPanoramas(tmp_path / "made", pipeline)
    before, after = made.before_and_after(asked)
    plain = pipeline(asked.model_copy(update={"upscale": None})).image
    assert ImageChops.difference(before, plain).getbbox() is None
    assert after.size == (2 * before.width, 2 * before.height)

    monkeypatch.setattr(pipeline, "sample", None)
    again = made.before_and_after(asked)
    assert [each.tobytes() for each in again] == [before.tobytes(), after.tobytes()]


def test_large_renders_are_of_the_held_out_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Scene, int, int]] = []

    def draw(scenes: list[Scene], _: torch.device, width: int, height: int) -> torch.Tensor:
        drawn.append((scenes[0], width, height))
        return torch.full((1, 3, height, width), len(drawn), dtype=torch.uint8)

    monkeypatch.setattr(large_pictures, "render", draw)
    renders = LargeRenders(tmp_path, 2, 256, CPU)
    first, second, again = (renders.picture(index) for index in (0, 1, 0))
    scenes = [sample_scene(np.random.default_rng([HELD_OUT_SEED, each])) for each in (0, 1)]
    assert drawn == [(scene, 4096, 512) for scene in scenes]
    assert first.tobytes() == again.tobytes() != second.tobytes()
    with pytest.raises(SystemExit, match=r"--model: its windows are 512 px.*256 px"):
        LargeRenders(tmp_path, 2, 512, CPU)


@pytest.mark.slow
def test_twice_the_pixels_show_the_same_scene() -> None:
    scene = sample_scene(np.random.default_rng([HELD_OUT_SEED, 0]))
    small, large = (
        Image.fromarray(render([scene], CPU, *size, 1)[0].permute(1, 2, 0).numpy())
        for size in ((512, 64), (1024, 128))
    )
    difference = np.abs(np.asarray(large.reduce(2), float) - np.asarray(small, float))
    mirrored = np.asarray(large.reduce(2), float)[:, ::-1] - np.asarray(small, float)
    assert difference.mean() < 0.5 * np.abs(mirrored).mean()


def rough(seed: int) -> Image.Image:
    """A picture whose details are as fine as its pixels."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(60, 190) + rng.normal(0, 30, (2 * SIDE, 6 * SIDE, 3))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


@pytest.mark.slow
def test_pictures_with_details_are_nearer_than_enlarged_ones(tmp_path: Path, meter: Meter) -> None:
    crops = CropMeter(tmp_path / "crops", meter.vgg, 2, SIDE)
    renders = [rough(seed) for seed in range(8)]
    panoramas = [(large.reduce(2), large) for large in map(rough, range(8, 12))]
    rows = compare(crops, renders, panoramas)
    distance = {name: row.kid.between.value for name, row in rows.items()}
    assert max(distance[REAL], distance[UPSCALED]) < 0.1 * distance[ENLARGED]
    assert rows[ENLARGED].detail.value < 0.5 * rows[UPSCALED].detail.value
    assert rows[REAL_ENLARGED].detail.value < 0.5 * rows[REAL].detail.value
    head, cells = as_table(rows)
    assert list(rows) == [REAL, REAL_ENLARGED, UPSCALED, ENLARGED, SHARPENED]
    differences = [f"`upscale` minus: {name}" for name in (ENLARGED, SHARPENED)]
    assert [each[0] for each in cells] == [*rows, *differences]
    assert all(len(each) == len(head) for each in cells)
    assert cells[-2][1].startswith("-")
    assert rows[ENLARGED].detail.value < rows[SHARPENED].detail.value

    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "crops").iterdir()}
    assert len(kept) == 24
    compare(crops, renders, panoramas)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "crops").iterdir()} == kept
