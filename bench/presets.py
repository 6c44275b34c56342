"""What each preset costs and how coherent its panoramas are, on the embedded model.

    python -m bench.presets [--report docs/benchmarks.md] [--prompts N] [--seeds N]
                            [--parts | --sweep [--kept FILE]]

Every round makes one prompt and seed by every row in turn, so that a busy machine slows all rows
alike; costs are medians of the rounds' ratios. Windows are pulled together by stlpips-alex, and
judged by stlpips-vgg and a Gram style distance; each alone, by how far it is from windows that
were made alone. `--parts` measures the presets' building blocks too, each alone on top of `paper`.
`--sweep` makes panoramas with fewer and more steps instead: see `bench.steps`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from bench.borders import border_step
from bench.quality.prompts import OPEN
from bench.sections import STYLE_SCALE, machine, parser, publish, table
from bench.single_windows import LastFeatures, kid, make_single_windows, nearest_distance
from bench.steps import sweep
from bench.strips import stack
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.coherence import whole_windows
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PRESETS

BASELINE = "MultiDiffusion"
ROWS: Mapping[str, dict[str, Any]] = {
    BASELINE: {"preset": "paper", "sync": {"weight": 0}},
    **{name: {"preset": name} for name in PRESETS},
}
PARTS: Mapping[str, dict[str, Any]] = {
    "paper, first 10 steps": {"preset": "paper", "sync": {"steps": 10}},
    "paper, every 5th step": {"preset": "paper", "sync": {"every": 5}},
    "paper, no decay, w 10": {"preset": "paper", "sync": {"weight": 10, "decay": 1.0}},
    "paper, moves bounded by 0.066": {"preset": "paper", "sync": {"max_move": 0.066}},
    "paper, tiny decoder": {"preset": "paper", "sync": {"decoder": "tiny"}},
    "paper, prediction reused": {"preset": "paper", "sync": {"reuse_prediction": True}},
    "paper, shifted windows": {"preset": "paper", "windows": "shifted"},
    "shifted windows, no sync": {
        "preset": "paper",
        "windows": "shifted",
        "sync": {"weight": 0},
    },
}
SINGLES_PER_PROMPT = 24

ByPrompt = Mapping[str, Tensor]  # features of windows


@dataclass
class Measured:
    """One row's figures, round by round."""

    took_s: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)  # of the baseline's time in the same round
    lpips: list[float] = field(default_factory=list)
    style: list[float] = field(default_factory=list)
    borders: list[float] = field(default_factory=list)
    windows: dict[str, list[Image.Image]] = field(default_factory=dict)  # by prompt


@dataclass(frozen=True)
class Distances:
    """How far windows are from windows made alone."""

    nearest: float
    kid: float

    @classmethod
    def between(cls, windows: ByPrompt, singles: ByPrompt) -> Self:
        nearest = [nearest_distance(windows[prompt], alone) for prompt, alone in singles.items()]
        all_windows, all_singles = (torch.cat(list(one.values())) for one in (windows, singles))
        return cls(statistics.mean(nearest), kid(all_windows, all_singles))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--prompts", type=int, default=4, choices=range(1, len(OPEN) + 1))
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--parts", action="store_true")
    options.add_argument("--sweep", action="store_true")
    options.add_argument("--kept", type=Path, help="of --sweep: a file that keeps its figures")
    asked = options.parse_args()
    pipeline = load_pipeline(str(WEIGHTS), perceptual="stlpips-alex")
    prompts = OPEN[: asked.prompts]
    if asked.sweep:
        sweep(pipeline, prompts, asked.seeds, asked.report, asked.kept)
        return
    rows = {**ROWS, **PARTS} if asked.parts else ROWS
    measured = {name: Measured() for name in rows}
    strips: list[tuple[str, Image.Image]] = []
    for seed in range(1, asked.seeds + 1):
        for prompt in prompts:
            made = run_round(pipeline, prompt, seed, rows, measured)
            if seed == 1:
                strips += [(f"{prompt}: {name}", image) for name, image in made.items()]
    features = LastFeatures()
    singles = {}
    for index, prompt in enumerate(prompts):
        alone = make_single_windows(pipeline, prompt, 1_000 + index, SINGLES_PER_PROMPT)
        singles[prompt] = features.of(alone)
    # Half of the windows made alone against the other half: the noise floor of the distances.
    floor = Distances.between(
        {prompt: alone[::2] for prompt, alone in singles.items()},
        {prompt: alone[1::2] for prompt, alone in singles.items()},
    )
    distances = {}
    for name, row in measured.items():
        windows = {prompt: features.of(images) for prompt, images in row.windows.items()}
        distances[name] = Distances.between(windows, singles)
    text = (
        f"`python -m bench.presets` on {machine()}: {len(prompts)} prompts, {asked.seeds} seeds, "
        f"panoramas of 6 windows by 1. Of windows made alone to one another: nearest* "
        f"{floor.nearest:.4f}, KID* {floor.kid:.3f}.\n\n{as_table(measured, distances)}"
    )
    publish("presets", text, asked.report)
    if asked.report:
        picture: Path = asked.report.parent / "presets.png"
        stack(strips).save(picture)


def run_round(
    pipeline: SyncDiffusionPipeline,
    prompt: str,
    seed: int,
    rows: Mapping[str, dict[str, Any]],
    measured: Mapping[str, Measured],
) -> dict[str, Image.Image]:
    made: dict[str, Image.Image] = {}
    took_s: dict[str, float] = {}
    for name, changes in rows.items():
        sync = SyncParams(**changes.get("sync", {}))
        params = PanoramaParams(prompt=prompt, seed=seed, **{**changes, "sync": sync})
        begun = time.perf_counter()
        panorama = pipeline(params)
        took_s[name] = time.perf_counter() - begun - panorama.timings_s["measure"]
        assert panorama.coherence is not None
        assert panorama.coherence.lpips_net == "stlpips-vgg"
        made[name] = panorama.image
        row = measured[name]
        row.took_s.append(took_s[name])
        row.cost.append(took_s[name] / took_s[BASELINE])
        row.lpips.append(panorama.coherence.intra_lpips)
        row.style.append(panorama.coherence.intra_style * STYLE_SCALE)
        row.borders.append(border_step(panorama.image, pipeline.traits.window_px))
        windows = whole_windows(panorama.image, pipeline.traits.window_px)
        row.windows.setdefault(prompt, []).extend(windows)
        print(
            f"{prompt}, seed {seed}, {name}: {took_s[name]:.1f} s, Intra-LPIPS {row.lpips[-1]:.3f}",
            flush=True,
        )
    return made


def as_table(measured: Mapping[str, Measured], distances: Mapping[str, Distances]) -> str:
    reference = statistics.mean(measured["paper"].lpips)
    head = [
        "row",
        "time / MultiDiffusion",
        "seconds",
        "Intra-LPIPS (held out)",
        "/ paper",
        "Intra-Style-L x 1e6",
        "borders",
        "nearest*",
        "KID*",
    ]
    return table(
        head,
        [
            [
                name,
                f"{statistics.median(row.cost):.2f}",
                f"{statistics.median(row.took_s):.1f}",
                f"{statistics.mean(row.lpips):.3f}",
                f"{statistics.mean(row.lpips) / reference:.2f}",
                f"{statistics.mean(row.style):.3f}",
                f"{statistics.mean(row.borders):.2f}",
                f"{distances[name].nearest:.4f}",
                f"{distances[name].kid:.3f}",
            ]
            for name, row in measured.items()
        ],
    )


if __name__ == "__main__":
    main()
