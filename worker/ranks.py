"""One worker of several processes (*ranks*), a GPU each, that make every panorama together.

The first rank is the worker: it takes jobs and reports. The others compute their share.
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Final, NamedTuple

import torch

from panoweave.core.diffusion.errors import DeviceUnavailableError, DiffusionError
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.rank_group import RankGroup, RankLost
from panoweave.core.diffusion.rank_work import FirstRank, follow
from panoweave.core.infra.settings import Settings
from panoweave.worker.model import load_model

log = logging.getLogger(__name__)

EXIT_RANK_LOST: Final = 72  # of a rank that cannot go on without another


class RankPlan(NamedTuple):
    size: int
    folder: Path  # private to this worker, for the ranks to find one another


def device_of(settings: Settings, rank: int) -> str:
    """Raises DeviceUnavailableError if there are fewer GPUs than ranks."""
    if settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if settings.device not in ("auto", "cuda"):
        raise DeviceUnavailableError(
            f"several GPUs: PANOWEAVE_DEVICE is {settings.device}; legal: auto, cuda, cpu"
        )
    if rank >= torch.cuda.device_count():
        raise DeviceUnavailableError(
            f"--gpus asks for more than the {torch.cuda.device_count()} GPUs of this machine"
        )
    return f"cuda:{rank}"


def _load(settings: Settings, rank: int) -> SyncDiffusionPipeline:
    return load_model(settings.model_copy(update={"device": device_of(settings, rank)}))


def first_rank(settings: Settings, plan: RankPlan) -> FirstRank:
    """Load the model. Returns when all ranks have; raises DiffusionError if theirs differs."""
    pipeline = _load(settings, 0)
    return FirstRank(pipeline, settings.window_batch, _join(pipeline, plan, 0))


def run_other_rank(settings: Settings, plan: RankPlan, rank: int) -> int:
    """Compute this rank's share, until the first one dismisses it or has ended."""
    # The first rank decides when to stop: a signal to the whole group must not tear it apart.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        pipeline = _load(settings, rank)
        follow(pipeline, settings.window_batch, _join(pipeline, plan, rank))
    except DiffusionError as error:
        log.error("rank %d: the model could not be loaded: %s", rank, error)
        return 1
    except RankLost as error:
        log.error("rank %d: %s", rank, error)
        return EXIT_RANK_LOST
    return 0


def _join(pipeline: SyncDiffusionPipeline, plan: RankPlan, rank: int) -> RankGroup:
    group = RankGroup(plan.folder, rank, plan.size, pipeline.device)
    if len(set(group.all_values(identify(pipeline).digest))) > 1:
        raise DiffusionError(
            "the ranks have loaded different models, or run on different kinds of devices; name "
            "the hub's revision in PANOWEAVE_MODEL"
        )
    first, *others = group.all_values(pipeline.loras.digests if pipeline.loras else {})
    if any(digests != first for digests in others):
        raise DiffusionError(
            "the ranks have loaded different LoRAs; name the hub's revisions in PANOWEAVE_LORAS"
        )
    return group
