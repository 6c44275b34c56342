"""What the tests of resuming share, on a CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.params import PanoramaParams

LABEL: Final = {"job": "pano_1", "panorama": "a lake"}
Make = Callable[[], SyncDiffusionPipeline]


def picture(width: int) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((width, 64))
    return Image.merge("RGB", (gradient, gradient.rotate(180), gradient))


def check_resumes(
    fresh: Make,
    params: PanoramaParams,
    images: dict[str, Image.Image] | None = None,
    at: tuple[int, ...] = (1, 3, 5),
) -> None:
    """Stopped after any of these steps, its latents and its picture are the uninterrupted ones."""
    saved: list[bytes] = []
    lasts: list[Tensor] = []

    def save(report: StepReport) -> None:
        saved.append(report.state.to_bytes(LABEL))

    def look(report: StepReport) -> None:
        lasts.append(report.state.latents)

    whole = fresh()(params, images=images or {}, on_step=save).image
    end = SamplerState.from_bytes(saved[-1], LABEL).latents
    for step in at:
        state = SamplerState.from_bytes(saved[step - 1], LABEL)
        assert state.step == step
        lasts.clear()
        resumed = fresh()(params, images=images or {}, on_step=look, resume=state).image
        assert len(lasts) == len(saved) - step  # no step is done twice
        assert all(torch.equal(latents.cpu(), end) for latents in lasts[-1:])
        assert resumed.tobytes() == whole.tobytes()
