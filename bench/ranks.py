"""What several processes, a device each, gain on one panorama, and how many bytes they exchange.

    python -m bench.ranks [--report docs/scale.md] [--checkpoint FOLDER] [--groups 2 3]

*Share*: one process computes what one of N ranks would, and waits for nobody: that needs one device
alone. *Together*: N processes on CPUs, over gloo.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor

from bench.sections import finish_kernels, machine, of, parser, publish, table
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.rank_group import RankGroup
from panoweave.core.diffusion.rank_work import FirstRank, follow
from panoweave.core.diffusion.ranks import ONE_RANK, Ranks
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.embedded import WEIGHTS
from panoweave.core.machine import DEFAULT_WINDOW_BATCH
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS, PresetName

_STEPS: Final = 3
_SIZES: Final = (1, 2, 4, 8)
# Of one direction, as their specifications have it, and half of it for what is reached in practice.
_LINKS: Final = {"NVLink": 450e9 / 2, "PCIe 4.0 x16": 32e9 / 2}
# One exchange of codes and one of results, measured between two CPU processes on an idle machine.
_EXCHANGE_S: Final = 0.001


class ShareOf(Ranks):
    """The first of several ranks; what the others would send is its own."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.exchanges = 0
        self.bytes_received = 0

    def share(self, batches: Sequence[Sequence[int]], tensor: Tensor) -> None:
        mine = [row for batch in self.mine(batches) for row in batch]
        others = [row for batch in batches for row in batch if row not in mine]
        for number, row in enumerate(others):
            tensor[row] = tensor[mine[number % len(mine)]]
        self.exchanges += 1
        self.bytes_received += tensor[0].nbytes * len(mine) * (self.size - 1)


@dataclass(frozen=True)
class Step:
    seconds: float
    exchanges: float
    received: float  # bytes


@dataclass(frozen=True)
class Case:
    preset: PresetName
    width: int | None = None  # pixels; None: six windows

    @property
    def params(self) -> PanoramaParams:
        return PanoramaParams(
            prompt="a lake", seed=1, preset=self.preset, width=self.width, steps=_STEPS
        )


def _clock() -> float:
    """On CPUs, of one thread each, what this process computes: whatever else the machine does."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def measure(generator: OomRetry, case: Case, ranks: Ranks) -> Step:
    """The median step. `ranks`: what counts bytes and exchanges, if it counts."""
    times: list[float] = []

    def note(_report: StepReport) -> None:
        finish_kernels()
        times.append(_clock())

    generator.generate(case.params)  # what is made once is made here
    before = getattr(ranks, "bytes_received", 0), getattr(ranks, "exchanges", 0)
    generator.generate(case.params, on_step=note)
    steps = [after - earlier for earlier, after in pairwise(times)]
    return Step(
        statistics.median(steps),
        (getattr(ranks, "exchanges", 0) - before[1]) / _STEPS,
        (getattr(ranks, "bytes_received", 0) - before[0]) / _STEPS,
    )


def shares(pipeline: SyncDiffusionPipeline, case: Case) -> list[list[str]]:
    rows = []
    alone_s = 0.0
    graphs = pipeline.graphs
    for size in _SIZES:
        ranks = ShareOf(size) if size > 1 else ONE_RANK
        pipeline.ranks = ranks
        pipeline.graphs = graphs if size == 1 else None  # as `rank_work` has it
        step = measure(OomRetry(pipeline, DEFAULT_WINDOW_BATCH), case, ranks)
        alone_s = alone_s or step.seconds
        wide = case.params.resolve(pipeline.traits).width // pipeline.traits.window_px
        row = [
            case.preset,
            f"{wide}",
            f"{size}",
            f"{step.seconds:.3f}",
            f"{step.received / 1e6:.1f}",
        ]
        for link in _LINKS.values():
            exchange_s = step.exchanges * _EXCHANGE_S + step.received / link
            row.append(f"{alone_s / (step.seconds + exchange_s):.2f}")
        rows.append(row)
    pipeline.ranks, pipeline.graphs = ONE_RANK, graphs
    return rows


def load(checkpoint: str, device: str) -> SyncDiffusionPipeline:
    pipeline = load_pipeline(checkpoint, perceptual="stlpips-alex", device=device)
    pipeline.meter = None
    return pipeline


def follower(checkpoint: str, folder: str, rank: int, size: int) -> None:
    torch.set_num_threads(1)
    pipeline = load(checkpoint, "cpu")
    follow(pipeline, DEFAULT_WINDOW_BATCH, RankGroup(Path(folder), rank, size, pipeline.device))


def together(checkpoint: str, size: int) -> Step:
    spawning = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder:
        others = [
            spawning.Process(target=follower, args=(checkpoint, folder, rank, size))
            for rank in range(1, size)
        ]
        for each in others:
            each.start()
        pipeline = load(checkpoint, "cpu")
        group = RankGroup(Path(folder), 0, size, pipeline.device)
        first = FirstRank(pipeline, DEFAULT_WINDOW_BATCH, group)
        step = measure(first, Case("balanced"), group)
        first.dismiss()
        for each in others:
            each.join()
    return step


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--checkpoint", default=str(WEIGHTS))
    options.add_argument("--groups", type=int, nargs="*", default=[])
    given = options.parse_args()
    torch.set_num_threads(1)
    pipeline = load(given.checkpoint, "auto")
    cases = [Case("balanced")]
    if torch.cuda.is_available():
        wide_px = 24 * pipeline.traits.window_px
        cases = [*(Case(preset) for preset in PRESETS), Case("balanced", wide_px)]
    rows = [row for case in cases for row in shares(pipeline, case)]
    head = [
        "preset",
        "windows wide",
        "ranks",
        "a share, s",
        "received, MB",
        *(f"gain, {name}" for name in _LINKS),
    ]
    text = (
        f"`python -m bench.ranks` on {machine()}, {of(pipeline)}: a step of one rank. "
        "*Received*: bytes a step, by each rank. *Gain*: one device's time, by that of a "
        "share and the exchanges, as computed from the links' specifications.\n\n"
        f"{table(head, rows)}"
    )
    if given.groups:
        alone_s = measure(
            OomRetry(pipeline, DEFAULT_WINDOW_BATCH), Case("balanced"), ONE_RANK
        ).seconds
        lines = [["1", f"{alone_s:.3f}", "", "1"]]
        for size in given.groups:
            step = together(given.checkpoint, size)
            gain = f"{alone_s / step.seconds:.2f}"
            lines += [[f"{size}", f"{step.seconds:.3f}", f"{step.received / 1e6:.2f}", gain]]
        head = ["processes", "the first one's CPU s a step", "received, MB", "gain"]
        text += f"\n\nTogether, over gloo, one thread each:\n\n{table(head, lines)}"
    publish("ranks", text, given.report)


if __name__ == "__main__":
    main()
