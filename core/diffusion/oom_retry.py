"""Retry with less memory when a panorama runs out of it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from PIL import Image

from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import OnBatch, OnStep, SyncDiffusionPipeline
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.params import PanoramaParams, ResolvedParams

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryUse:
    """What a panorama's memory depends on, beside the panorama itself."""

    window_batch: int
    gradient_checkpointing: bool

    def less(self) -> MemoryUse | None:
        """Half of the windows at once, down to one; then gradient checkpointing; then nothing."""
        if self.window_batch > 1:
            return MemoryUse(self.window_batch // 2, self.gradient_checkpointing)
        return None if self.gradient_checkpointing else MemoryUse(1, True)


class OomRetry:
    """A pipeline that goes on with less memory after torch.OutOfMemoryError.

    The panorama goes on after its last finished step and is the same, but for rounding. Later
    panoramas that need as much begin with what was enough; others are not affected, so that their
    bits do not depend on what was made before them (docs/decisions/0064).
    """

    def __init__(self, pipeline: SyncDiffusionPipeline, window_batch: int) -> None:
        self.pipeline = pipeline
        self._first = MemoryUse(window_batch, pipeline.gradient_checkpointing)
        self._enough: dict[Hashable, MemoryUse] = {}

    def memory_use(self, params: ResolvedParams) -> MemoryUse:
        """What a panorama begins with."""
        return self._enough.get(_need(params), self._first)

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
        resolved = params.resolve(self.pipeline.traits)  # once: a seed that is drawn stays
        pipeline, graphs = self.pipeline, self.pipeline.graphs
        # What earlier panoramas recorded takes memory that this one is to have first.
        has_others_recordings = graphs is not None and graphs.hold_memory

        def keep_state(report: StepReport) -> None:
            nonlocal state
            state = report.state
            if on_step:
                on_step(report)

        while True:
            use = self.memory_use(resolved)
            pipeline.set_gradient_checkpointing(use.gradient_checkpointing)
            try:
                made = pipeline(
                    resolved,
                    images=images,
                    on_step=keep_state,
                    on_batch=on_batch,
                    window_batch=use.window_batch,
                    resume=state,
                )
                pipeline.ranks.finish()
                return made
            except torch.OutOfMemoryError:
                pipeline.ranks.retry_together(state.step if state else 0)
                if graphs is not None:
                    graphs.forget()
                less = use.less()
                if has_others_recordings:
                    has_others_recordings = False
                elif less is None:
                    raise
                else:
                    self._enough[_need(resolved)] = less
                    log.warning(
                        "out of memory: windows at once %d, gradient checkpointing %s",
                        less.window_batch,
                        "on" if less.gradient_checkpointing else "off",
                    )
            # Only here has the error, and with it the tensors of its frames, been released.
            torch.cuda.empty_cache()


def _need(params: ResolvedParams) -> Hashable:
    """Equal for requests of which a batch of windows needs about as much memory."""
    sync = params.sync
    return (
        (sync.decoder, sync.gradient) if sync.weight else None,
        params.guidance_scale == 1,
        params.control is None,
        params.extend is None,
        params.upscale is None,
    )
