"""How fast panoweave is against the baselines, on the same weights: pairs, interleaved.

    python -m bench.speed [--report docs/benchmarks.md] [--pairs N]
                          [--checkpoint FOLDER [--random]]

Each pair runs one after the other, and in the other order next time; a row's ratio is the median
of its pairs'. Panoramas of 6 windows by 1, "a lake"; by default on the embedded model. In float16
on the GPU where there is one, else in float32: both sides alike. The baselines run at their best:
diffusers' `view_batch_size` is searched first, and the literal algorithm has both halves of the
guidance in one batch. Ours run as they come.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.peers import (
    Run,
    best_view_batch_size,
    load_plain,
    multidiffusion,
    request,
    run_diffusers,
    run_transcription,
)
from bench.sections import machine, of, parser, publish, table
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS

_EXACT_STEPS = 5  # every step costs the same, so five of five stand for fifty of fifty
_NARROW_PX, _WIDE_PX = 3_072, 24_576


Side = Callable[[], Run]


@dataclass(frozen=True)
class Versus:
    """What is compared, and the goal that the project set itself."""

    name: str
    ours: Side
    other: Side
    goal: float


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--checkpoint", default=str(WEIGHTS))
    options.add_argument(
        "--random", action="store_true", help="the weights are random: skip coherence"
    )
    asked = options.parse_args()
    pipeline = load_pipeline(asked.checkpoint, perceptual="stlpips-alex")
    if asked.random:
        pipeline.meter = None
    plain = load_plain(asked.checkpoint, pipeline)
    size = best_view_batch_size(plain)
    baseline = partial(run_diffusers, plain, size)
    diffusers = f"diffusers' panorama pipeline, `view_batch_size={size}`"
    plain_windows = partial(make, pipeline, multidiffusion())
    exact = request(preset="paper", steps=_EXACT_STEPS)
    rows = [
        Versus(
            f"exact, {_EXACT_STEPS} of {_EXACT_STEPS} steps / the paper's Algorithm 1, literally",
            partial(make, pipeline, exact),
            partial(run_transcription, plain, _EXACT_STEPS),
            0.4,
        ),
        Versus(f"MultiDiffusion / {diffusers}", plain_windows, baseline, 0.85),
        Versus(
            "balanced / MultiDiffusion",
            partial(make, pipeline, request(preset="balanced")),
            plain_windows,
            1.0,
        ),
        Versus(
            f"fast / {diffusers}", partial(make, pipeline, request(preset="fast")), baseline, 0.5
        ),
    ]
    for preset in PRESETS:
        make(pipeline, request(preset=preset, steps=1))  # what is made once is made here
    lines = [compare(pipeline, row, asked.pairs) for row in rows]
    lines.append(memory_line(asked.checkpoint))
    head = ["ours / other", "ratio", "goal", "seconds: ours", "other", "Intra-LPIPS: ours", "other"]
    text = (
        f"`python -m bench.speed` on {machine()}, {of(pipeline)}: medians of {asked.pairs} "
        "interleaved pairs.\n\n"
        f"{table(head, lines)}"
    )
    publish("speed", text, asked.report)


def compare(pipeline: SyncDiffusionPipeline, row: Versus, pairs: int) -> list[str]:
    ours: list[Run] = []
    other: list[Run] = []
    for index in range(pairs):
        sides = [(row.ours, ours), (row.other, other)]
        for side, runs in sides if index % 2 else reversed(sides):
            runs.append(side())
            print(f"{row.name}: {runs[-1].took_s:.1f} s", flush=True)
    ratio = statistics.median(a.took_s / b.took_s for a, b in zip(ours, other, strict=True))
    return [
        row.name,
        f"{ratio:.2f}",
        f"<= {row.goal:.2f}",
        *(f"{statistics.median(run.took_s for run in runs):.1f}" for runs in (ours, other)),
        *(_coherence(pipeline, runs[0]) for runs in (ours, other)),
    ]


def _coherence(pipeline: SyncDiffusionPipeline, run: Run) -> str:
    coherence = pipeline.measure(run.image) if run.image else None
    return f"{coherence.intra_lpips:.3f}" if coherence else ""


def make(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> Run:
    panorama = pipeline(params)
    # Five steps make no picture worth measuring.
    image = panorama.image if panorama.params.steps > _EXACT_STEPS else None
    return Run(panorama.timings_s["denoise"] + panorama.timings_s["decode"], image)


_PEAK = """
import resource, sys
import torch
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.params import PanoramaParams
pipeline = load_pipeline(sys.argv[1], perceptual="stlpips-alex")
params = PanoramaParams(prompt="a lake", seed=1, width=int(sys.argv[2]), steps=2, preset="paper")
pipeline(params)
if torch.cuda.is_available():
    print(torch.cuda.max_memory_allocated() // 2**20)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10)
"""


def memory_line(checkpoint: str) -> list[str]:
    """Peak memory, of the GPU or of the whole process: two exact steps, windows eight at a time."""
    narrow, wide = (
        int(
            subprocess.run(
                [sys.executable, "-c", _PEAK, checkpoint, str(width)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for width in (_NARROW_PX, _WIDE_PX)
    )
    name = f"peak memory, {_WIDE_PX:,} px wide / {_NARROW_PX:,} px"
    return [name, f"{wide / narrow:.2f}", "<= 1.10", f"{wide} MiB", f"{narrow} MiB", "", ""]


if __name__ == "__main__":
    main()
