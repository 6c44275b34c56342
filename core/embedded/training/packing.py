"""States small enough to travel: averages in half precision, in files of a limited size.

    python -m panoweave.core.embedded.training.packing pack --work DIR --out PARCEL --stage denoiser

`unpack` in place of `pack` is the way back.

With them go the latent space and the vocabulary. A run that goes on from a parcel begins at the
same step with the averaged weights, a new optimiser and a short warm-up.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from panoweave.core.embedded.training.runs import save_averages
from panoweave.core.embedded.training.stages import LATENTS_FILE, WORDS_FILE

PIECE_BYTES = 15 * 2**20  # a file that leaves some places must be smaller than 16 MiB
_SHARED_FILES = (LATENTS_FILE, WORDS_FILE)
STAGES = ("decoder", "tiny", "denoiser", "controlnet")


def pack(work: Path, stage: str, out: Path) -> int:
    """Writes a stage's parcel; returns how many bytes it has."""
    state = torch.load(work / f"{stage}.pt", weights_only=True, map_location="cpu")
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for number, piece in enumerate(_pieces(state["ema"])):
        file = out / f"{stage}-{number}.pt"
        torch.save(piece, file)
        total += file.stat().st_size
    for name in _SHARED_FILES:
        if (work / name).exists():
            shutil.copy(work / name, out / name)
    (out / f"{stage}.json").write_text(json.dumps({"step": state["step"], "pieces": number + 1}))
    return total


def unpack(work: Path, stage: str, out: Path) -> int:
    """Puts a parcel in the place of a stage's state; returns the step it stands at."""
    about = json.loads((out / f"{stage}.json").read_text())
    average: dict[str, Tensor] = {}
    for number in range(about["pieces"]):
        piece = torch.load(out / f"{stage}-{number}.pt", weights_only=True)
        average.update({name: tensor.float() for name, tensor in piece.items()})
    step = int(about["step"])
    work.mkdir(parents=True, exist_ok=True)
    for name in _SHARED_FILES:
        if (out / name).exists() and not (work / name).exists():
            shutil.copy(out / name, work / name)
    save_averages(work / f"{stage}.pt", step, average)
    return step


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    piece: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        half = tensor.half()
        if piece and size + half.nbytes > PIECE_BYTES:
            yield piece
            piece, size = {}, 0
        piece[name] = half
        size += half.nbytes
    yield piece


def main(arguments: Sequence[str] | None = None) -> None:
    """Packs or unpacks stages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("direction", choices=("pack", "unpack"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stage", choices=STAGES, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="the parcel's folder")
    asked = parser.parse_args(arguments)
    for stage in asked.stage:
        if asked.direction == "pack":
            print(f"{stage}: {pack(asked.work, stage, asked.out) / 2**20:.1f} MiB")
        else:
            print(f"{stage}: step {unpack(asked.work, stage, asked.out)}")


if __name__ == "__main__":
    main()
