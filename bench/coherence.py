"""How much more coherent SyncDiffusion's panoramas are than MultiDiffusion's.

    python -m bench.coherence [--report FOLDER]

Makes every prompt and seed twice on the embedded model, with the preset `paper` and with
`sync.weight = 0`, and prints the paper's measures as a Markdown table. The loss that is optimised
is stlpips-alex; the verdict is stlpips-vgg's, which the pictures were not made for.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.coherence import mean_pair_distance, whole_windows
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.machine import PerceptualName
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PRESETS

# They leave time of day and weather open: the windows of plain MultiDiffusion choose alone.
PROMPTS = (
    "a landscape",
    "mountains",
    "a lake",
    "a forest",
    "a desert",
    "a meadow",
    "the sea",
    "a snowy landscape",
)
SEEDS = (1, 2)
OPTIMISED: PerceptualName = "stlpips-alex"
STYLE_SCALE = 1e6  # Gram distances are tiny numbers
_MARGIN_PX = 4
_LABEL_PX = 20


@dataclass(frozen=True)
class Row:
    """One panorama's measures: held-out LPIPS, the optimised LPIPS, Gram style, seconds."""

    held_out: float
    optimised: float
    style: float
    took_s: float


@dataclass(frozen=True)
class Pair:
    prompt: str
    seed: int
    plain: Row
    sync: Row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--report", type=Path, help="folder for coherence.md and coherence.png (default: print)"
    )
    report: Path | None = parser.parse_args().report
    pipeline = load_pipeline(str(WEIGHTS), perceptual=OPTIMISED, device="auto")
    pairs: list[Pair] = []
    strips: list[tuple[str, Image.Image]] = []
    print(header(), flush=True)
    for prompt in PROMPTS:
        for seed in SEEDS:
            pair, plain, sync = compare(pipeline, prompt, seed)
            pairs.append(pair)
            print(line(pair), flush=True)
            if seed == SEEDS[0]:
                strips += [(f"{prompt}: MultiDiffusion", plain), ("SyncDiffusion", sync)]
    print(summary(pairs))
    if report:
        table = "\n".join([header(), *(line(pair) for pair in pairs), summary(pairs)])
        (report / "coherence.md").write_text(document(table))
        stack(strips).save(report / "coherence.png")


def compare(
    pipeline: SyncDiffusionPipeline, prompt: str, seed: int
) -> tuple[Pair, Image.Image, Image.Image]:
    """The same prompt and seed without pull and with the paper's."""
    asked = PanoramaParams(prompt=prompt, seed=seed, preset="paper")
    plain, plain_row = make(pipeline, asked.model_copy(update={"sync": SyncParams(weight=0)}))
    sync, sync_row = make(pipeline, asked)
    return Pair(prompt, seed, plain_row, sync_row), plain.image, sync.image


def make(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> tuple[Panorama, Row]:
    begun = time.perf_counter()
    panorama = pipeline(params)
    took_s = time.perf_counter() - begun
    assert panorama.coherence is not None
    assert panorama.coherence.lpips_net == "stlpips-vgg"
    assert pipeline.perceptual is not None
    crops = whole_windows(panorama.image, pipeline.traits.window_px)
    return panorama, Row(
        held_out=panorama.coherence.intra_lpips,
        optimised=mean_pair_distance(pipeline.perceptual, crops),
        style=panorama.coherence.intra_style * STYLE_SCALE,
        took_s=took_s,
    )


def header() -> str:
    names = [
        "prompt",
        "seed",
        "Intra-LPIPS, held out (stlpips-vgg): Multi",
        "Sync",
        "ratio",
        "optimised (stlpips-alex): Multi",
        "Sync",
        "Intra-Style-L x 1e6: Multi",
        "Sync",
        "seconds: Multi",
        "Sync",
    ]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def line(pair: Pair) -> str:
    return cells(pair.prompt, str(pair.seed), pair.plain, pair.sync)


def summary(pairs: list[Pair]) -> str:
    return cells("**mean**", "", mean(pair.plain for pair in pairs), mean(p.sync for p in pairs))


def cells(prompt: str, seed: str, plain: Row, sync: Row) -> str:
    numbers = [
        f"{plain.held_out:.3f}",
        f"{sync.held_out:.3f}",
        f"{sync.held_out / plain.held_out:.2f}",
        f"{plain.optimised:.3f}",
        f"{sync.optimised:.3f}",
        f"{plain.style:.3f}",
        f"{sync.style:.3f}",
        f"{plain.took_s:.0f}",
        f"{sync.took_s:.0f}",
    ]
    return f"| {' | '.join([prompt, seed, *numbers])} |"


def mean(rows: Iterator[Row]) -> Row:
    columns = zip(*((r.held_out, r.optimised, r.style, r.took_s) for r in rows), strict=True)
    return Row(*(statistics.mean(column) for column in columns))


def document(table: str) -> str:
    paper = PRESETS["paper"]["sync"]
    return (
        "# Coherence: SyncDiffusion against MultiDiffusion\n\n"
        "Made by `python -m bench.coherence --report docs` with the embedded model and the preset "
        f"`paper` (weight {paper['weight']:g}, decay {paper['decay']:g}, every step); "
        "MultiDiffusion is the same request with `sync.weight = 0`. Lower is more coherent; "
        "ratio is Sync / Multi of the held-out measure, and of the means in the last row. The "
        "pictures of seed 1 are in coherence.png.\n\n"
        f"{table}\n\n![The pictures of seed 1](coherence.png)\n"
    )


def stack(strips: list[tuple[str, Image.Image]]) -> Image.Image:
    """Labelled panoramas below one another."""
    width = strips[0][1].width
    height = sum(_LABEL_PX + strip.height + _MARGIN_PX for _, strip in strips)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    top = 0
    for label, strip in strips:
        draw.text((2, top + 2), label, fill="black", font=font)
        sheet.paste(strip, (0, top + _LABEL_PX))
        top += _LABEL_PX + strip.height + _MARGIN_PX
    return sheet


if __name__ == "__main__":
    main()
