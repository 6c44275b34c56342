"""What the tests of flow-matching families share; `tiny_flow` has their checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from torch import Tensor

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core.tiny_flow import CASES, MAX_TOKENS, WINDOW_PX, FlowCase

CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
Make = Callable[[FlowCase], SyncDiffusionPipeline]
Saved = Callable[[FlowCase], Path]


def params(case: FlowCase, **changes: Any) -> PanoramaParams:
    sync = {"weight": 20, "decay": 0.9, **changes.pop("sync", {})}
    base: dict[str, Any] = {
        "prompt": "a mountain lake",
        "negative_prompt": case.negative_prompt,
        "guidance_scale": case.guidance_scale,
        "width": 80,
        "height": 64,
        "stride": 16,
        "steps": 2,
        "seed": 3,
        "preset": "paper",
    }
    return PanoramaParams(**{**base, **changes}, sync=SyncParams(**sync))


def diffusers_own(case: FlowCase, theirs: Any, asked: PanoramaParams, noise: Tensor) -> Image.Image:
    """What a pipeline of diffusers makes of the same noise."""
    made: Image.Image = theirs(
        asked.prompt,
        height=WINDOW_PX,
        width=WINDOW_PX,
        num_inference_steps=asked.steps,
        max_sequence_length=MAX_TOKENS,
        latents=case.pack(noise),
        **case.asked(asked),
    ).images[0]
    return made


def max_difference(one: Image.Image, other: Image.Image) -> int:
    return max(ImageChops.difference(one, other).tobytes())
