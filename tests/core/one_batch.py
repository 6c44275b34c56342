"""One batch of windows, two texts and a tiny UNet in float64, to compare ways through a UNet."""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from panoweave.core.diffusion.prompts import PromptEmbeddings, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View
from tests.core import tiny

STEP: Final = Step(0, torch.tensor(300), torch.tensor(0.5))
VIEWS: Final = [View(0, 0), View(0, 4), View(0, 8)]
SCALE: Final = 3.0
LIKE_STABLE_DIFFUSION: Final[dict[str, Any]] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
}


def make(**changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    made: UNet2DConditionModel = tiny.unet(**changes).double().eval().requires_grad_(False)
    return made


def inputs() -> tuple[Tensor, PromptEmbeddings]:
    """Three windows, and a prompt with its negative prompt."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 4, 8, 8, generator=generator, dtype=torch.float64)
    texts = torch.randn(2, 5, 16, generator=generator, dtype=torch.float64)
    return x, PromptEmbeddings(TextEmbedding(texts[:1]), TextEmbedding(texts[1:]))
