"""The options of the commands, and the model and networks that they load."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, get_args

import torch

from bench.quality.features import ClipScore, InceptionFeatures, VggFeatures
from bench.quality.measuring import Results, measure
from bench.quality.renders import held_out
from bench.quality.rows import Changes
from bench.quality.runs import Meter, Runs
from bench.sections import parser
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from panoweave.core.embedded import checkpoint_of
from panoweave.core.machine import PerceptualName

JUDGES: Final = ("stlpips", "published")
_LEAST_RENDERS: Final = 8


def base_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every command of bench.quality has."""
    made = parser(doc)
    made.add_argument(
        "--model",
        default="embedded",
        help="embedded, a folder or hub/id[@revision] (default: embedded)",
    )
    made.add_argument(
        "--prompts",
        default="labelled",
        help="labelled, open, paper, or a file with a prompt on each line (default: labelled)",
    )
    made.add_argument("--seeds", type=int, default=1, help="panoramas of each prompt and row")
    made.add_argument(
        "--work", type=Path, required=True, help="a folder that keeps everything that is made"
    )
    made.add_argument("--renders", type=int, default=256, help="how many held-out renders")
    made.add_argument(
        "--perceptual",
        choices=get_args(PerceptualName),
        default="stlpips-alex",
        help="pulls windows together (default: stlpips-alex)",
    )
    return made


def build_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of the commands that compare settings of one model."""
    made = base_parser(doc)
    made.add_argument(
        "--reference",
        choices=("renders", "singles"),
        default="renders",
        help="held-out renders, or windows that the model makes alone (default: renders)",
    )
    made.add_argument("--inception", type=Path, help="FID's Inception weights, a file")
    made.add_argument("--clip", type=Path, help="a CLIP model's folder, for Mean-CLIP-S")
    made.add_argument(
        "--judge",
        choices=JUDGES,
        default="stlpips",
        help="networks of Intra-LPIPS and Intra-Style-L: stlpips-vgg for both, or the published "
        "lpips-vgg and style-vgg, whose files have to be in torch's cache (default: stlpips)",
    )
    return made


def check_counts(asked: argparse.Namespace) -> None:
    if asked.seeds < 1:
        raise SystemExit(f"--seeds: must be at least 1, not {asked.seeds}")
    if asked.renders < _LEAST_RENDERS:
        raise SystemExit(f"--renders: must be at least {_LEAST_RENDERS}, not {asked.renders}")


def run(asked: argparse.Namespace, rows: dict[str, Changes]) -> Results:
    """Make and measure the rows as the options say."""
    check_counts(asked)
    if asked.judge == "published" and asked.perceptual == "lpips-vgg":
        print("Intra-LPIPS is by the network that pulls windows together, as in the paper.")
    pipeline = load_pipeline(checkpoint_of(asked.model), perceptual=asked.perceptual)
    pipeline.meter = None  # panoramas are measured once, here
    device: torch.device = pipeline.device
    published = asked.judge == "published"
    meter = Meter(
        load_perceptual("lpips-vgg" if published else "stlpips-vgg").to(device),
        (load_perceptual("style-vgg") if published else load_stlpips_style()).to(device),
        VggFeatures(device),
        InceptionFeatures(asked.inception, device) if asked.inception else None,
        ClipScore(asked.clip, device) if asked.clip else None,
    )
    side = pipeline.traits.window_px
    renders = (
        held_out(asked.work / "renders", asked.renders, side, device)
        if asked.reference == "renders"
        else None
    )
    runs = Runs(asked.work / "measured", pipeline, meter)
    try:
        return measure(runs, rows, asked.prompts, asked.seeds, renders)
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on where it was") from None
