"""The panorama that a worker makes before its first job."""

from __future__ import annotations

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams


def warm_up_request(pipeline: SyncDiffusionPipeline) -> PanoramaParams:
    """On a CPU two windows in two steps.

    On a GPU the kernels are chosen by the size of a batch: as many windows as a job has that names
    no width, and enough steps for all kinds of them, with a gradient and without.
    """
    if pipeline.device.type == "cuda":
        return PanoramaParams(prompt="warm up", steps=12, seed=0)
    return PanoramaParams(prompt="warm up", width=2 * pipeline.traits.window_px, steps=2, seed=0)
