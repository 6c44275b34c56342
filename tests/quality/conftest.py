"""A tiny model, its networks that measure, and renders of windows as small as its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.quality.features import VggFeatures
from bench.quality.renders import HeldOut
from bench.quality.runs import Meter, Runs
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from panoweave.core.embedded.training.shards import write_shard
from tests.core import tiny
from tests.embedded.training.pictures import COLUMNS, make_facts, make_subject

torch.set_num_threads(1)

SIDE = 64
_LEVELS = {"noon": 200, "night": 60}


def draw(folder: Path, index: int) -> None:
    """Bright at noon, dark at night; rough in the desert, smooth at sea. No weather is seen."""
    rng = np.random.default_rng(index)
    sandy, time = bool(rng.integers(2)), str(rng.choice(["noon", "night"]))
    noise = rng.normal(0, 25 if sandy else 2, (1, 3, SIDE, COLUMNS))
    pictures = np.clip(_LEVELS[time] + rng.uniform(-15, 15) + noise, 0, 255).astype(np.uint8)
    facts = make_facts(
        {"sand" if sandy else "water": 0.6},
        biome="desert" if sandy else "coast",
        time=time,
        weather="cloudy",
    )
    write_shard(folder, index, pictures, [make_subject(facts)], "test")


@pytest.fixture
def renders(tmp_path: Path) -> HeldOut:
    return HeldOut(tmp_path / "renders", 16, draw)


@pytest.fixture(scope="session")
def meter() -> Meter:
    vgg = VggFeatures(torch.device("cpu"))
    return Meter(load_perceptual("stlpips-vgg"), load_stlpips_style(), vgg)


@pytest.fixture
def runs_in(tmp_path: Path, meter: Meter) -> Callable[[str], Runs]:
    """Runs of the same tiny model, in a folder of that name."""
    pipeline = tiny.pipeline(tmp_path / "model")
    pipeline.perceptual = load_perceptual("stlpips-alex")
    return lambda name: Runs(tmp_path / name / "measured", pipeline, meter)
