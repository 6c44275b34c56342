from __future__ import annotations

import pytest
import torch

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS

# Tiny networks gain nothing from threads, and lose much where cores are shared.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def embedded() -> SyncDiffusionPipeline:
    """The model that ships, shared: a test that changes it does so with `monkeypatch`."""
    return load_pipeline(str(WEIGHTS), perceptual="stlpips-alex", device="cpu")


@pytest.fixture(scope="session")
def perceptual() -> PerceptualLoss:
    return load_perceptual("stlpips-alex")
