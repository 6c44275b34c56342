"""Whether `upscale` makes windows like pictures of that size, beside enlarging alone.

    python -m bench.quality.upscale --work FOLDER [--factor 2] [--prompts ..] [--seeds N]
        [--renders N] [--report docs/quality.md]

The reference is held-out scenes with so many times the pixels, over the same field of view. Its
windows are compared with those of panoramas with `upscale`, with those of the same panoramas
enlarged by interpolation, and with those sharpened, which shows whether sharpness is all of it. A
run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFilter

from bench.quality.distances import Kid, kid
from bench.quality.features import VggFeatures
from bench.quality.intervals import Figure, mean_of
from bench.quality.large_pictures import CropMeter, Crops, LargeRenders, UpscaledPanoramas
from bench.quality.measuring import WINDOWS, shown
from bench.quality.options import base_parser, check_counts
from bench.quality.plots import REAL
from bench.quality.prompts import read_prompts
from bench.quality.rows import ask
from bench.quality.tables import Table, show
from bench.sections import machine, publish, table
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.upscaling import enlarge
from panoweave.core.embedded import checkpoint_of
from panoweave.core.presets import DEFAULT_PRESET

REAL_ENLARGED: Final = "the same, shrunk and enlarged"
UPSCALED: Final = "panoramas with `upscale`"
ENLARGED: Final = "the same panoramas, enlarged"
SHARPENED: Final = "enlarged, and sharpened"
# About as much detail as `upscale` adds to the embedded model's panoramas.
_SHARPEN: Final = ImageFilter.UnsharpMask(radius=2, percent=200, threshold=0)
_RENDERS: Final = 16


@dataclass(frozen=True)
class Row:
    """The figures of a set of pictures."""

    kid: Kid
    detail: Figure

    @classmethod
    def of(cls, pictures: Sequence[Crops], reference: Sequence[Crops]) -> Row:
        return cls(
            kid([one.features for one in pictures], [one.features for one in reference]),
            mean_of([one.detail for one in pictures]),
        )


def compare(
    meter: CropMeter,
    renders: Sequence[Image.Image],
    panoramas: Sequence[tuple[Image.Image, Image.Image]],
) -> dict[str, Row]:
    """`panoramas`: each before and after `upscale`. Half of the renders is the reference."""
    factor = meter.factor
    others = renders[1::2]
    plain = [enlarge(small, factor, loop=False) for small, _ in panoramas]
    pictures: Mapping[str, Sequence[Image.Image]] = {
        REAL: others,
        REAL_ENLARGED: [enlarge(each.reduce(factor), factor, loop=True) for each in others],
        UPSCALED: [large for _, large in panoramas],
        ENLARGED: plain,
        SHARPENED: [each.filter(_SHARPEN) for each in plain],
    }
    reference = [meter.of(each) for each in shown(renders[::2], "reference")]
    return {
        name: Row.of([meter.of(each) for each in shown(own, name)], reference)
        for name, own in pictures.items()
    }


def as_table(rows: Mapping[str, Row]) -> Table:
    """A row each, and how far `upscale` is from the others: the same panoramas and resamples."""
    head = ["row", "KID x 1e3 (vgg)", "KID x 1e3, all pairs (vgg)", "detail"]
    cells = [
        [
            name,
            show(row.kid.between, 1, 1e3),
            show(row.kid.all_pairs, 1, 1e3),
            show(row.detail, 2),
        ]
        for name, row in rows.items()
    ]
    ours = rows[UPSCALED]
    for name in (ENLARGED, SHARPENED):
        other = rows[name]
        cells.append(
            [
                f"`upscale` minus: {name}",
                show(ours.kid.between.minus(other.kid.between), 1, 1e3),
                show(ours.kid.all_pairs.minus(other.kid.all_pairs), 1, 1e3),
                show(ours.detail.minus(other.detail), 2),
            ]
        )
    return head, cells


def main() -> None:
    options = base_parser(__doc__)
    options.set_defaults(renders=_RENDERS)
    options.add_argument("--factor", type=int, choices=(2, 4), default=2, help="(default: 2)")
    asked = options.parse_args()
    check_counts(asked)
    try:
        _run(asked)
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on where it was") from None


def _run(asked: argparse.Namespace) -> None:
    pipeline = load_pipeline(checkpoint_of(asked.model), perceptual=asked.perceptual)
    pipeline.meter = None
    side, device = pipeline.traits.window_px, pipeline.device
    made = UpscaledPanoramas(asked.work / "upscaled", pipeline)
    renders = LargeRenders(asked.work / "renders", asked.factor, side, device)
    meter = CropMeter(asked.work / "crops", VggFeatures(device), asked.factor, side)
    changes = {"preset": DEFAULT_PRESET, "upscale": asked.factor}
    requests = [
        ask(changes, prompt, seed, side, WINDOWS)
        for seed in range(1, asked.seeds + 1)
        for prompt in read_prompts(asked.prompts)
    ]
    for params in requests:
        params.resolve(pipeline.traits)  # what cannot be made is refused before the first
    real = [renders.picture(index) for index in shown(range(asked.renders), "renders")]
    panoramas = [made.before_and_after(params) for params in shown(requests, "panoramas")]
    rows = compare(meter, real, panoramas)
    text = (
        f"`python -m bench.quality.upscale` on {machine()}: {len(panoramas)} panoramas of "
        f"`{DEFAULT_PRESET}`, {panoramas[0][1].width} x {panoramas[0][1].height} px after "
        f"`upscale: {asked.factor}`, against {len(real[::2])} renders of "
        f"{real[0].width} x {real[0].height} px.\n\n{table(*as_table(rows))}"
    )
    publish("upscale", text, asked.report)


if __name__ == "__main__":
    main()
