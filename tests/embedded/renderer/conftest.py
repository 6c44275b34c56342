"""Small renders that several tests look at: one of each biome, in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import (
    BIOMES,
    Facts,
    Scene,
    render_with_facts,
    sample_scene,
)

WIDTH, HEIGHT = 384, 48


def small(scenes: Sequence[Scene], device: str = "cpu") -> tuple[Tensor, list[Facts]]:
    """Panoramas of 384 x 48 pixels, one sample to a pixel."""
    return render_with_facts(scenes, device, WIDTH, HEIGHT, supersample=1)


def scene(biome: str, time: str, weather: str, seed: int = 0) -> Scene:
    return sample_scene(np.random.default_rng(seed), biome, time, weather)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def noon_scenes() -> list[Scene]:
    return [scene(biome, "noon", "clear", seed=7 + i) for i, biome in enumerate(BIOMES)]


@pytest.fixture(scope="session")
def few(noon_scenes: list[Scene]) -> tuple[Tensor, list[Facts]]:
    """Two of them, for the tests of every run: all twelve take eleven seconds."""
    return small(noon_scenes[:2])


@pytest.fixture(scope="session")
def noon(noon_scenes: list[Scene]) -> tuple[Tensor, list[Facts]]:
    return small(noon_scenes)
