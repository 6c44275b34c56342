"""A data set without the renderer: bands of colour, described as if they were landscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panoweave.core.embedded.training.renderer import CLASSES, Facts
from panoweave.core.embedded.training.shards import Subject, write_shard

COLUMNS = 512
ROWS = 256


def make_facts(
    shares: dict[str, float],
    *,
    peaks: float = 0.0,
    cones: float = 0.0,
    biome: str = "meadow",
    time: str = "noon",
    weather: str = "clear",
    season: str = "summer",
    clouds: str = "none",
    extras: tuple[str, ...] = (),
    sun_shown: bool = False,
) -> Facts:
    """The same in every column; `shares` of the picture by class, the rest is sky."""
    values = {**dict.fromkeys(CLASSES, 0.0), **shares}
    values["sky"] += 1 - sum(values.values())
    rows = [*(values[name] for name in CLASSES), peaks, cones]
    columns = np.repeat((np.array(rows) * 255).round().astype(np.uint8)[:, None], COLUMNS, 1)
    return Facts(columns, 100.0, sun_shown, biome, time, weather, season, clouds, extras)


def make_subject(facts: Facts) -> Subject:
    """With the numbers of a scene with firs on a calm day."""
    return Subject(facts, {"tree_kind": 0.0, "wave": 0.3, "rain": 0.0})


def write_data(folder: Path, shards: int, *, first: int = 0, scenes: int = 2) -> None:
    """Smooth random pictures, each shard's from its number."""
    kinds = ("meadow", "forest")
    for index in range(first, first + shards):
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (scenes, 3, ROWS // 32, COLUMNS // 32))
        pictures = coarse.repeat(32, 2).repeat(32, 3).astype(np.uint8)
        subjects = [
            make_subject(make_facts({"ground": 0.6}, biome=kinds[i % 2])) for i in range(scenes)
        ]
        write_shard(folder, index, pictures, subjects, "test")
