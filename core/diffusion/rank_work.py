"""The first rank gives the others requests, and they compute their share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from PIL import Image

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.errors import DiffusionError
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import OnBatch, OnStep, SyncDiffusionPipeline
from panoweave.core.diffusion.rank_group import RankGroup, RankLost, RankStopped
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.params import PanoramaParams, ResolvedParams

log = logging.getLogger(__name__)

# What a request may end with; the ranks then wait for the next one.
_ENDS: Final = (DiffusionError, InvalidParams, torch.OutOfMemoryError, RankStopped)


@dataclass(frozen=True)
class RankRequest:
    params: ResolvedParams
    images: Mapping[str, Image.Image]
    resume: SamplerState | None


class FirstRank(OomRetry):
    """Makes panoramas with the other ranks. It alone knows of callbacks, and of what stops it."""

    def __init__(
        self, pipeline: SyncDiffusionPipeline, window_batch: int, group: RankGroup
    ) -> None:
        super().__init__(pipeline, window_batch)
        self.is_lost = False  # the group cannot go on
        self._group = group
        _use(group, pipeline)

    def generate(
        self,
        params: PanoramaParams,
        images: Mapping[str, Image.Image] = MappingProxyType({}),
        on_step: OnStep | None = None,
        resume: SamplerState | None = None,
        on_batch: OnBatch | None = None,
    ) -> Panorama:
        """Raises also RankLost, and RankStopped if another rank has ended with a fault of its own.

        After these the group is of no use any more.
        """
        resolved = params.resolve(self.pipeline.traits)  # one seed for all ranks, if it is drawn
        try:
            self._group.broadcast(RankRequest(resolved, dict(images), resume))
            with self._group.together():
                return super().generate(resolved, images, on_step, resume, on_batch)
        except (RankLost, RankStopped):
            self.is_lost = True
            raise

    def dismiss(self) -> None:
        """Let the other ranks end."""
        self._group.broadcast(None)
        self._group.close()


def follow(pipeline: SyncDiffusionPipeline, window_batch: int, group: RankGroup) -> None:
    """Compute this rank's share of every request, until the first rank dismisses it."""
    _use(group, pipeline)
    pipeline.meter = None  # the first rank measures
    generator = OomRetry(pipeline, window_batch)
    while request := group.broadcast(None):
        try:
            with group.together():
                generator.generate(request.params, request.images, resume=request.resume)
        except _ENDS as error:
            log.info("this panorama has ended here: %s", type(error).__name__)
    group.close()


def _use(group: RankGroup, pipeline: SyncDiffusionPipeline) -> None:
    pipeline.ranks = group
    pipeline.graphs = None  # NCCL's own thread calls CUDA, which may spoil a recording
