"""Groups of processes that make panoramas together, over gloo, for tests."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.rank_group import RankGroup
from panoweave.core.diffusion.rank_work import FirstRank, follow
from panoweave.core.params import PanoramaParams
from tests.core import tiny
from tests.processes import forking

CPU = torch.device("cpu")
_STALL_S = 850
# A rank that waits for another waits inside of torch, where no signal is handled: only a thread can
# end a test that stalls. It shows where each thread is, as do the followers shortly before.
BOUNDED = pytest.mark.timeout(_STALL_S + 50, method="thread")


def make_pipeline(folder: Path) -> SyncDiffusionPipeline:
    """The same one in every process."""
    made = tiny.pipeline(folder)
    made.perceptual = tiny.perceptual()
    return made


def run_follower(folder: Path, rank: int, size: int, fault: str) -> None:
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(_STALL_S)
    pipeline = make_pipeline(folder / f"rank-{rank}")
    if fault and rank == 1:
        break_after(pipeline, fault)
    follow(pipeline, 3, RankGroup(folder, rank, size, CPU))


def break_after(pipeline: SyncDiffusionPipeline, fault: str, calls: int = 3) -> None:
    """From the network's third call on, or at it, something is wrong."""
    left = calls

    def count(_layer: Any, _args: Any, output: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and fault == "memory":
            raise torch.OutOfMemoryError("as a GPU's would be")
        if left == 0 and fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if left <= 0 and fault == "nan":
            return output * float("nan")
        return output

    pipeline.denoiser.conv_out.register_forward_hook(count)  # its last layer


@dataclass
class Group:
    first: FirstRank
    ranks: RankGroup
    followers: Sequence[BaseProcess]
    folder: Path

    def make(self, params: PanoramaParams, **more: Any) -> Panorama:
        return self.first.generate(params, **more)


@contextmanager
def group_of(size: int, window_batch: int = 3, fault: str = "") -> Iterator[Group]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        followers = [
            forking().Process(target=run_follower, args=(folder, rank, size, fault))
            for rank in range(1, size)
        ]
        for each in followers:
            each.start()
        pipeline = make_pipeline(folder / "rank-0")
        ranks = RankGroup(folder, 0, size, CPU)
        found = Group(FirstRank(pipeline, window_batch, ranks), ranks, followers, folder)
        try:
            yield found
            found.first.dismiss()
            for each in followers:
                each.join(20)
                assert each.exitcode == 0
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            for each in followers:
                each.kill()
                each.join()


def asked(**changes: Any) -> PanoramaParams:
    """Six windows, a window each 32 px."""
    base = {"prompt": "a lake", "width": 224, "stride": 32, "seed": 3, "steps": 4}
    return PanoramaParams.model_validate({**base, **changes})
