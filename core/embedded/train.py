"""Trains the embedded model, from nothing or on from a checkpoint's weights.

    python -m panoweave.core.embedded.train --work DIR [--from CHECKPOINT]

Every stage leaves its state in the work directory and goes on from there when it is run again;
stages can also run one by one, beside one another.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from panoweave.core.embedded.export_target import check_export_target
from panoweave.core.embedded.training.runs import Stop
from panoweave.core.embedded.training.stages import Recipe, Training
from panoweave.core.embedded.training.warm_start import start_from

STAGES = ("data", "latents", "decoder", "tiny", "denoiser", "controlnet", "export")


def main(arguments: Sequence[str] | None = None, recipe: Recipe | None = None) -> None:
    """Runs the stages asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="data and states")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="CHECKPOINT",
        help="begin a new work directory with the weights of a checkpoint",
    )
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES)
    parser.add_argument("--out", type=Path, help="where the checkpoint goes (default: WORK/export)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, help="save and end after so many minutes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=0, help="that draw batches ahead")
    parser.add_argument("--shards", type=int, help="how many to render")
    parser.add_argument("--first-shard", type=int, default=0, help="the denoiser's first shard")
    parser.add_argument("--batch", type=int, help="of the denoiser")
    parser.add_argument("--steps", type=int, help="of the denoiser")
    asked = parser.parse_args(arguments)
    device = torch.device(asked.device)
    if recipe is None:
        recipe = Recipe() if device.type == "cpu" else Recipe().for_gpu()
    target = asked.out or asked.work / "export"
    if "export" in asked.stage:
        try:
            check_export_target(target)
        except ValueError as reason:
            parser.error(f"--out: {reason}")
    torch.set_num_threads(asked.threads)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    stop = Stop(asked.minutes)
    stop.catch_signals()
    denoiser = replace(
        recipe.denoiser,
        batch=recipe.denoiser.batch if asked.batch is None else asked.batch,
        steps=recipe.denoiser.steps if asked.steps is None else asked.steps,
        first_shard=asked.first_shard,
    )
    shards = recipe.shards if asked.shards is None else asked.shards
    recipe = replace(recipe, shards=shards, denoiser=denoiser)
    training = Training(recipe, asked.work, device, stop, asked.processes)
    if asked.start:
        try:
            start_from(asked.start, training)
        except (ValueError, OSError) as reason:
            parser.error(f"--from: {reason}")
    for stage in STAGES:
        if stage not in asked.stage:
            continue
        if stage == "export":
            training.export(target)
        else:
            getattr(training, stage)()


if __name__ == "__main__":
    main()
