from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.loras import LoraSource
from tests.core import tiny
from tests.core.flow import Make, Saved
from tests.core.loras import make_loras
from tests.core.tiny_flow import FlowCase

# Tiny networks gain nothing from threads, and lose much where cores are shared.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def embedded() -> SyncDiffusionPipeline:
    """The model that ships, shared: a test that changes it does so with `monkeypatch`."""
    return load_pipeline(str(WEIGHTS), perceptual="stlpips-alex", device="cpu")


@pytest.fixture(scope="session")
def perceptual() -> PerceptualLoss:
    return load_perceptual("stlpips-alex")


@pytest.fixture(scope="session")
def tiny_perceptual() -> PerceptualLoss:
    return tiny.perceptual()


@pytest.fixture(scope="session")
def offered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoraSource]:
    """LoRAs of the tiny model, shared: not to be changed."""
    return make_loras(tmp_path_factory.mktemp("loras"))


@pytest.fixture(scope="session")
def exact_flow(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Flow-matching families in float64, so that equal means equal. Shared: not to be changed."""
    perceptual = tiny.perceptual().double()
    made: dict[str, SyncDiffusionPipeline] = {}

    def of(case: FlowCase) -> SyncDiffusionPipeline:
        if case.name not in made:
            pipeline = tiny.in_float64(case.pipeline(tmp_path_factory.mktemp(case.name)))
            pipeline.perceptual = perceptual
            made[case.name] = pipeline
        return made[case.name]

    return of


@pytest.fixture(scope="session")
def fresh_flow(tmp_path_factory: pytest.TempPathFactory, tiny_perceptual: PerceptualLoss) -> Make:
    """Flow-matching families, in float32 as they run, made anew each time."""

    def of(case: FlowCase) -> SyncDiffusionPipeline:
        pipeline = case.pipeline(tmp_path_factory.mktemp(case.name))
        pipeline.perceptual = tiny_perceptual
        return pipeline

    return of


@pytest.fixture(scope="session")
def saved_flow(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    made: dict[str, Path] = {}

    def of(case: FlowCase) -> Path:
        if case.name not in made:
            made[case.name] = case.save(tmp_path_factory.mktemp(case.name))
        return made[case.name]

    return of


@pytest.fixture(scope="session")
def whole_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As diffusers saves it. Shared: not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.pipeline(folder / "words").save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture
def checkpoint(whole_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy for one test."""
    return Path(shutil.copytree(whole_checkpoint, tmp_path / "model"))
