"""Retry with less memory when a panorama runs out of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

import torch
from PIL import Image

from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import OnBatch, OnStep, SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.params import PanoramaParams

log = logging.getLogger(__name__)


class OomRetry:
    """A pipeline that goes on with less memory after torch.OutOfMemoryError.

    The window batch is halved, down to one window; then gradient checkpointing is enabled. The
    panorama goes on after its last finished step and is the same, but for rounding on a GPU. Later
    panoramas begin with what was enough.
    """

    def __init__(self, pipeline: SyncDiffusionPipeline, window_batch: int) -> None:
        self.pipeline = pipeline
        self.window_batch = window_batch

    def generate(
        self,
        params: PanoramaParams,
        images: Mapping[str, Image.Image] = MappingProxyType({}),
        on_step: OnStep | None = None,
        resume: SamplerState | None = None,
        on_batch: OnBatch | None = None,
    ) -> Panorama:
        """Call the pipeline. Raises what it raises, and OutOfMemoryError if nothing helped."""
        state = resume

        def keep_state(report: StepReport) -> None:
            nonlocal state
            state = report.state
            if on_step:
                on_step(report)

        while True:
            try:
                made = self.pipeline(
                    params,
                    images=images,
                    on_step=keep_state,
                    on_batch=on_batch,
                    window_batch=self.window_batch,
                    resume=state,
                )
                self.pipeline.ranks.finish()
                return made
            except torch.OutOfMemoryError:
                self.pipeline.ranks.retry_together(state.step if state else 0)
                if self.pipeline.graphs is not None:
                    self.pipeline.graphs.forget()
                if self.window_batch > 1:
                    self.window_batch //= 2
                    log.warning("out of memory: the window batch is now %d", self.window_batch)
                elif not self.pipeline.gradient_checkpointing:
                    self.pipeline.enable_gradient_checkpointing()
                    log.warning("out of memory: gradient checkpointing is now enabled")
                else:
                    raise
            # Only here has the error, and with it the tensors of its frames, been released.
            torch.cuda.empty_cache()
