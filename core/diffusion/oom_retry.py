"""Panoramas in whatever memory there is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

import torch
from PIL import Image

from panoweave.core.diffusion.pipeline import OnStep, Panorama, StepReport, SyncDiffusionPipeline
from panoweave.core.diffusion.standing import Standing
from panoweave.core.params import PanoramaParams

log = logging.getLogger(__name__)


class Maker:
    """Where memory runs out, goes on in less of it: the same picture, but for rounding on a GPU.

    First with half as many windows at once, down to one, then without keeping what the gradient
    needs. What was enough is what the next panorama begins with.
    """

    def __init__(self, pipeline: SyncDiffusionPipeline, window_batch: int) -> None:
        self.pipeline = pipeline
        self._window_batch = window_batch

    def make(
        self,
        params: PanoramaParams,
        images: Mapping[str, Image.Image] = MappingProxyType({}),
        on_step: OnStep | None = None,
        resume: Standing | None = None,
    ) -> Panorama:
        """Raises torch.OutOfMemoryError where the least is too much, and what the pipeline does."""
        standing = resume

        def note(report: StepReport) -> None:
            nonlocal standing
            standing = report.standing
            if on_step:
                on_step(report)

        while True:
            try:
                return self.pipeline(
                    params,
                    images=images,
                    on_step=note,
                    window_batch=self._window_batch,
                    resume=standing,
                )
            except torch.OutOfMemoryError:
                if self._window_batch > 1:
                    self._window_batch //= 2
                    log.warning("out of memory: from now on %d windows at once", self._window_batch)
                elif not self.pipeline.is_sparing:
                    self.pipeline.spare_memory()
                    log.warning("out of memory: from now on what the gradient needs is not kept")
                else:
                    raise
            torch.cuda.empty_cache()  # after the error is forgotten, and with it what it held
