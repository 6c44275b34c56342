"""How coherent a preset's panoramas are with fewer and more steps: `bench.presets --sweep`.

Every round makes one prompt and seed with each number of steps in turn. The table is written after
each round. With a file to keep figures in (`--kept`), a run that was cut off goes on where it was.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from PIL import Image

from bench.sections import machine, publish, table
from panoweave.core.diffusion.decode import from_pil
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.perceptual import PerceptualLoss, distance
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS
from panoweave.core.sync_moves import moves_at

WIDTH_PX: Final = 1_024  # four windows
SWEEP: Final[Mapping[str, Sequence[int]]] = {
    "fast": (10, 20, 30, 50, 100),
    "balanced": (10, 20, 50, 100),
}
# The same windows without sync: pictures of few steps differ less anyway.
UNSYNCHRONISED: Final = "not synchronised"


@dataclass
class Row:
    """The figures of one preset and number of steps, round by round."""

    moves: int = 0  # of each window
    took_s: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)


class Figures(NamedTuple):
    took_s: float
    lpips: float
    apart: float


def sweep(
    pipeline: SyncDiffusionPipeline,
    prompts: Sequence[str],
    seeds: int,
    report: Path | None,
    kept: Path | None,
) -> None:
    lines = kept.read_text().splitlines() if kept and kept.exists() else []
    identity = identify(pipeline).digest  # other weights are another panorama
    done = {key: Figures(*figures) for key, figures in map(json.loads, lines)}
    all_steps = sorted(set(chain.from_iterable(SWEEP.values())))
    asked = {UNSYNCHRONISED: all_steps, **SWEEP}
    rows = {(name, steps): Row() for name, numbers in asked.items() for steps in numbers}
    rounds = list(product(range(1, seeds + 1), prompts))
    for number, (seed, prompt) in enumerate(rounds, 1):
        for (name, steps), row in rows.items():
            how: dict[str, Any] = (
                {"preset": "balanced", "sync": {"weight": 0}}
                if name == UNSYNCHRONISED
                else {"preset": name}
            )
            params = PanoramaParams(prompt=prompt, seed=seed, width=WIDTH_PX, steps=steps, **how)
            resolved = params.resolve(pipeline.traits)
            row.moves = sum(moves_at(i, steps, resolved.sync) for i in range(steps))
            key = f"{identity} {resolved.model_dump_json()}"
            if key not in done:
                done[key] = figures_of(pipeline, params)
                if kept:
                    with kept.open("a") as file:
                        file.write(json.dumps([key, done[key]]) + "\n")
            row.took_s.append(done[key].took_s)
            row.lpips.append(done[key].lpips)
            row.apart.append(done[key].apart)
            print(
                f"{prompt}, seed {seed}, {name}, {steps} steps: Intra-LPIPS "
                f"{row.lpips[-1]:.3f}, apart / beside {row.apart[-1]:.2f}",
                flush=True,
            )
        text = (
            f"`python -m bench.presets --sweep` on {machine()}: {number} of {len(rounds)} rounds "
            f"({len(prompts)} prompts, {seeds} seeds), panoramas of {WIDTH_PX} px.\n\n"
            f"{as_table(rows)}"
        )
        publish("steps", text, report)


def figures_of(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> Figures:
    assert pipeline.meter is not None
    begun = time.process_time()
    panorama = pipeline(params)
    took_s = time.process_time() - begun
    assert panorama.coherence is not None
    half_px = pipeline.traits.window_px // 2
    apart = apart_to_beside(panorama.image, half_px, pipeline.meter.lpips)
    return Figures(took_s, panorama.coherence.intra_lpips, apart)


@torch.no_grad()
def apart_to_beside(image: Image.Image, strip_px: int, network: PerceptualLoss) -> float:
    """How much farther strips that lie apart are from each other than strips side by side.

    1: the panorama looks the same all along. Unlike Intra-LPIPS itself, which is twice as high for
    a day as for a night (docs/LOG.md), this does not depend on what the panorama shows.
    """
    device = next(network.buffers()).device
    strips = [
        image.crop((left, 0, left + strip_px, image.height))
        for left in range(0, image.width - strip_px + 1, strip_px)
    ]
    embedded = [network.embed(from_pil(strip, device)[None]) for strip in strips]
    pairs = list(combinations(range(len(embedded)), 2))

    def mean_of(chosen: Sequence[tuple[int, int]]) -> float:
        return statistics.mean(float(distance(embedded[i], embedded[j])) for i, j in chosen)

    apart = mean_of([(i, j) for i, j in pairs if j > i + 1])
    return apart / mean_of([(i, j) for i, j in pairs if j == i + 1])


def as_table(rows: Mapping[tuple[str, int], Row]) -> str:
    head = [
        "preset",
        "steps",
        "moves of a window",
        "CPU seconds",
        "Intra-LPIPS (held out)",
        "/ at its own steps",
        f"/ {UNSYNCHRONISED}",
        "apart / beside",
        "/ at its own steps",
        "worst",
    ]
    return table(head, [_cells(name, steps, rows) for name, steps in rows])


def _cells(name: str, steps: int, rows: Mapping[tuple[str, int], Row]) -> list[str]:
    row, alone = rows[name, steps], rows[UNSYNCHRONISED, steps]
    own = rows[name, PRESETS[name]["steps"]] if name in PRESETS else None  # type: ignore[index]
    lpips, apart = statistics.mean(row.lpips), statistics.mean(row.apart)
    return [
        name,
        str(steps),
        str(row.moves),
        f"{statistics.median(row.took_s):.1f}",
        f"{lpips:.3f}",
        f"{lpips / statistics.mean(own.lpips):.2f}" if own else "-",
        f"{lpips / statistics.mean(alone.lpips):.2f}",
        f"{apart:.3f}",
        f"{apart / statistics.mean(own.apart):.2f}" if own else "-",
        f"{max(row.apart):.2f}",
    ]
