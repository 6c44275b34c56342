from __future__ import annotations

import pytest
import torch

from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual

# Tiny networks gain nothing from threads, and lose much where cores are shared.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def perceptual() -> PerceptualLoss:
    return load_perceptual("stlpips-alex")
