"""What tests on a CUDA device share."""

from __future__ import annotations

from typing import Final

import pytest
import torch

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.machine import DtypeName

NEEDS_CUDA: Final = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def load(device: str = "cuda", dtype: DtypeName = "auto") -> SyncDiffusionPipeline:
    """The embedded model."""
    return load_pipeline(str(WEIGHTS), perceptual="stlpips-alex", device=device, dtype=dtype)
