"""What it costs that a request always gives the same bits on a GPU, and what would happen without.

    python -m bench.equal_bits [--checkpoint FOLDER] [--pairs N] [--report docs/benchmarks.md]

Pairs, interleaved, the other order next time: as it is, and with the fastest algorithms whatever
the order of their sums. Panoramas of 6 windows by 1, three steps of each preset.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from contextlib import nullcontext
from unittest.mock import patch

import torch

from bench.sections import machine, of, parser, publish, table
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS, PresetName

_STEPS = 3


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--checkpoint", default=str(WEIGHTS))
    options.add_argument("--pairs", type=int, default=5)
    asked = options.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("it takes a GPU: on a CPU nothing is done otherwise")
    pipeline = load_pipeline(asked.checkpoint, perceptual="stlpips-alex")
    pipeline.meter = None
    rows = [measure(pipeline, preset, asked.pairs) for preset in PRESETS]
    head = ["preset", "time / without", "seconds", "without", "pictures", "without"]
    text = (
        f"`python -m bench.equal_bits` on {machine()}, {of(pipeline)}: "
        f"{_STEPS} steps, medians of {asked.pairs} interleaved "
        "pairs. *Pictures*: how many different ones that many runs of one request gave.\n\n"
        f"{table(head, rows)}"
    )
    publish("equal bits", text, asked.report)


def measure(pipeline: SyncDiffusionPipeline, preset: PresetName, pairs: int) -> list[str]:
    params = PanoramaParams(prompt="a lake", seed=1, preset=preset, steps=_STEPS)
    for equal in (True, False):
        run(pipeline, params, equal)  # what is made once is made here
    took: dict[bool, list[float]] = {True: [], False: []}
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for pair in range(pairs):
        for equal in (True, False) if pair % 2 else (False, True):
            seconds, picture = run(pipeline, params, equal)
            took[equal].append(seconds)
            seen[equal].add(picture)
    ratio = statistics.median(a / b for a, b in zip(took[True], took[False], strict=True))
    times = [f"{statistics.median(took[equal]):.2f}" for equal in (True, False)]
    return [preset, f"{ratio:.2f}", *times, *(f"{len(seen[equal])}" for equal in (True, False))]


def run(pipeline: SyncDiffusionPipeline, params: PanoramaParams, equal: bool) -> tuple[float, str]:
    """Seconds, and the picture's digest."""
    without = patch("panoweave.core.diffusion.pipeline.deterministic", lambda _: nullcontext())
    with nullcontext() if equal else without:
        begun = time.perf_counter()
        image = pipeline(params).image
        return time.perf_counter() - begun, hashlib.sha256(image.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
