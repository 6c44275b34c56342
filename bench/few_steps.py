"""How many moves a panorama of a few steps needs to be coherent, on the embedded model.

    python -m bench.few_steps [--report docs/benchmarks.md] [--seeds N] [--checkpoint FOLDER]

The embedded model was not distilled to a few steps; no model that was ships with panoweave. So this
shows how few steps are synchronised, not how good their pictures are. `--checkpoint` takes another.
Every round makes one prompt and seed with each row; the table is written after each, so that a run
that is cut off leaves what it has.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image

from bench.sections import machine, parser, publish, table
from bench.steps import WIDTH_PX, apart_to_beside
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.params import PanoramaParams

PROMPTS: Final = ("a lake", "a mountain landscape", "a meadow", "sand dunes at sunset")
PRESET: Final = "fast"
MOVES: Final[Mapping[int, Sequence[int]]] = {  # by steps; 0: not synchronised
    8: (0, 8, 16, 24, 32),
    6: (6, 12, 18, 24, 30),
    4: (4, 12, 20, 28),
}
HEAD: Final = (
    "steps",
    "moves of a window",
    "apart / beside",
    "torn",
    "Intra-LPIPS (held out)",
    "CPU seconds",
)
TORN: Final = 20  # levels between the mean colours of two windows


class Found(NamedTuple):
    apart: float
    spread: float
    lpips: float
    took_s: float


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--checkpoint", default=str(WEIGHTS))
    asked = options.parse_args()
    pipeline = load_pipeline(asked.checkpoint, perceptual="stlpips-alex")
    found: dict[tuple[int, int], list[Found]] = {
        (steps, moves): [] for steps, all_moves in MOVES.items() for moves in all_moves
    }
    rounds = list(product(range(1, asked.seeds + 1), PROMPTS))
    for number, (seed, prompt) in enumerate(rounds, 1):
        for (steps, moves), row in found.items():
            sync: dict[str, Any] = {"weight": 0}
            if moves:
                sync = {"tuned_steps": moves, "steps": steps}
            request = {"prompt": prompt, "seed": seed, "width": WIDTH_PX, "steps": steps}
            params = PanoramaParams.model_validate({**request, "preset": PRESET, "sync": sync})
            row.append(make(pipeline, params))
            print(steps, moves, prompt, seed, *(f"{value:.3f}" for value in row[-1]), flush=True)
        text = (
            f"`python -m bench.few_steps` on {machine()}, preset `{PRESET}`, {WIDTH_PX} px: "
            f"{number} of {len(rounds)} rounds ({len(PROMPTS)} prompts, {asked.seeds} seeds).\n\n"
            f"{table(HEAD, [cells(*key, row) for key, row in found.items()])}"
        )
        publish("few steps", text, asked.report)


def make(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> Found:
    assert pipeline.meter is not None
    begun = time.process_time()
    made = pipeline(params)
    took_s = time.process_time() - begun
    assert made.coherence is not None
    side = pipeline.traits.window_px
    apart = apart_to_beside(made.image, side // 2, pipeline.meter.lpips)
    return Found(apart, spread_of(made.image, side), made.coherence.intra_lpips, took_s)


def spread_of(image: Image.Image, window_px: int) -> float:
    """The largest distance between the mean colours of two windows side by side or apart."""
    pixels = np.asarray(image, float)
    means = [
        pixels[:, left : left + window_px].mean((0, 1)) for left in range(0, image.width, window_px)
    ]
    return max(float(np.abs(a - b).max()) for a, b in product(means, means))


def cells(steps: int, moves: int, found: Sequence[Found]) -> list[str]:
    torn = sum(each.spread > TORN for each in found)
    return [
        str(steps),
        str(moves),
        f"{statistics.mean(each.apart for each in found):.2f}",
        f"{torn} of {len(found)}",
        f"{statistics.mean(each.lpips for each in found):.3f}",
        f"{statistics.median(each.took_s for each in found):.1f}",
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
