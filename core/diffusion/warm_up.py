"""The panorama that a worker makes before its first job."""

from __future__ import annotations

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, SyncParams


def warm_up_request(pipeline: SyncDiffusionPipeline) -> PanoramaParams:
    """Steps with a gradient and without, at least two of each kind: the first is slower than those
    of a job, and the second is measured.

    On a CPU five windows in the area of two: fewer at once take longer for each, and the area is
    what decoding and measuring take. On a GPU the kernels are chosen by the size of a batch: as
    many windows as a job has that names no width, and enough steps for all kinds of them.
    """
    if pipeline.device.type == "cuda":
        # Two of the three closing steps, whose windows are more, have no gradient.
        return PanoramaParams(prompt="warm up", steps=12, seed=0, sync=SyncParams(steps=10))
    return PanoramaParams(
        prompt="warm up",
        width=2 * pipeline.traits.window_px,
        windows="overlapping",
        steps=4,
        seed=0,
        # One move in each, also with checkpoints that were distilled to a few steps.
        sync=SyncParams(steps=2, tuned_steps=4),
    )
