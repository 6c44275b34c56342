"""A tiny model, its networks that measure, and a renderer of windows as small as its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.quality.features import VggFeatures
from bench.quality.labels import Labels
from bench.quality.renders import WINDOWS, Render, Renderer
from bench.quality.runs import Meter, Runs
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from tests.core import tiny

torch.set_num_threads(1)

SIDE = 64
_LEVELS = {"noon": 200, "night": 60}


def draw(rng: np.random.Generator) -> Render:
    """Bright at noon, dark at night; rough in the desert, smooth at sea."""
    biome, time = str(rng.choice(["desert", "sea"])), str(rng.choice(["noon", "night"]))
    noise = rng.normal(0, 25 if biome == "desert" else 2, (SIDE, WINDOWS * SIDE, 3))
    picture = np.clip(_LEVELS[time] + rng.uniform(-15, 15) + noise, 0, 255).astype(np.uint8)
    labels: Labels = {"biome": biome, "time": time, "weather": None}
    return Render(Image.fromarray(picture), [labels] * WINDOWS)


RENDERER = Renderer(
    "plain",
    SIDE,
    {"biome": ("desert", "sea"), "time": ("noon", "night"), "weather": ("clear",)},
    draw,
)


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
