"""What a model paints: two contact sheets.

    python -m bench.contact_sheets --out FOLDER [--model MODEL] [--windows] [--panoramas]

`windows.jpg`: the 24 prompts of `bench.quality`, four windows each that are made alone.
`panoramas.jpg`: twelve prompts, six that say everything and six that leave time and weather open;
MultiDiffusion's panorama above, the default preset's below, of the same seed. Both sheets, unless
one is asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from rich.progress import track

from bench.quality.prompts import OPEN, labelled
from bench.quality.rows import BASELINE, ROWS, ask
from bench.single_windows import make_single_windows
from bench.strips import stack
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import checkpoint_of
from panoweave.core.presets import DEFAULT_PRESET

_WINDOWS: Final = 4  # of each prompt
_PANORAMA_WINDOWS: Final = 6
_OF_EACH_KIND: Final = 6
_SEED: Final = 1  # the first that was tried: none is chosen
_JPEG_QUALITY: Final = 85


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument(
        "--model", default="embedded", help="embedded, a folder or hub/id[@revision]"
    )
    parser.add_argument("--windows", action="store_true", help="this sheet alone")
    parser.add_argument("--panoramas", action="store_true", help="this sheet alone")
    asked = parser.parse_args()
    both = asked.windows == asked.panoramas
    pipeline = load_pipeline(checkpoint_of(asked.model), perceptual="stlpips-alex")
    pipeline.meter = None  # nothing is measured
    asked.out.mkdir(parents=True, exist_ok=True)
    if both or asked.windows:
        save(draw_windows(pipeline, labelled()), asked.out / "windows.jpg")
    if both or asked.panoramas:
        prompts = [*labelled()[:_OF_EACH_KIND], *OPEN[:_OF_EACH_KIND]]
        save(draw_panoramas(pipeline, prompts), asked.out / "panoramas.jpg")


def save(sheet: Image.Image, file: Path) -> None:
    sheet.save(file, quality=_JPEG_QUALITY)
    print(file)


def draw_windows(pipeline: SyncDiffusionPipeline, prompts: Sequence[str]) -> Image.Image:
    """Two columns of prompts, a row of windows each."""
    side = pipeline.traits.window_px
    rows = []
    for prompt in track(prompts, "windows"):
        row = Image.new("RGB", (_WINDOWS * side, side))
        for place, window in enumerate(make_single_windows(pipeline, prompt, _SEED, _WINDOWS)):
            row.paste(window, (place * side, 0))
        rows.append((prompt, row))
    columns = [stack(rows[0::2]), stack(rows[1::2])]
    sheet = Image.new("RGB", (2 * columns[0].width + 8, columns[0].height), "white")
    for place, column in enumerate(columns):
        sheet.paste(column, (place * (column.width + 8), 0))
    return sheet


def draw_panoramas(pipeline: SyncDiffusionPipeline, prompts: Sequence[str]) -> Image.Image:
    side = pipeline.traits.window_px
    rows = []
    for prompt in track(prompts, "panoramas"):
        for name in (BASELINE, DEFAULT_PRESET):
            params = ask(ROWS[name], prompt, _SEED, side, _PANORAMA_WINDOWS)
            rows.append((f"{prompt}: {name}", pipeline(params).image))
    return stack(rows)


if __name__ == "__main__":
    main()
