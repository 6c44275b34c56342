"""A parcel holds a stage's averages in small files, and a run goes on from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from panoweave.core.embedded.training import packing
from panoweave.core.embedded.training.packing import pack, unpack
from panoweave.core.embedded.training.runs import Stop
from panoweave.core.embedded.training.stages import Training
from tests.embedded.training.pictures import write_data
from tests.embedded.training.recipe import TINY


def test_a_run_goes_on_from_a_parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PIECE_BYTES", 200_000)
    here, there, parcel = tmp_path / "here", tmp_path / "there", tmp_path / "parcel"
    for work in (here, there):
        write_data(work / "shards", 2)
    _train(here, after_steps=2)
    size = pack(here, "denoiser", parcel)
    pieces = list(parcel.glob("denoiser-*.pt"))
    assert len(pieces) > 2
    assert all(piece.stat().st_size < 300_000 for piece in pieces)
    shutil.rmtree(there / "shards")
    write_data(there / "shards", 2, first=5)  # another machine renders pictures of its own
    for index in (5, 6):
        (there / "shards" / f"{index:05}").rename(there / "shards" / f"{index - 5:05}")
    assert sum(piece.stat().st_size for piece in pieces) == size
    assert unpack(there, "denoiser", parcel) == 2
    before = torch.load(here / "denoiser.pt", weights_only=True)
    after = torch.load(there / "denoiser.pt", weights_only=True)
    assert (there / "pca.pt").read_bytes() == (here / "pca.pt").read_bytes()
    for name, average in before["ema"].items():
        torch.testing.assert_close(after["ema"][name], average.half().float(), rtol=0, atol=0)
    _train(there)
    assert torch.load(there / "denoiser.pt", weights_only=True)["step"] == 4


def test_a_run_after_a_parcel_resumes_like_any_other(tmp_path: Path) -> None:
    states = []
    for name, stops in (("whole", (None,)), ("parts", (1, None))):
        work = tmp_path / name
        write_data(work / "shards", 2)
        _train(work, after_steps=1)
        pack(work, "denoiser", work / "parcel")
        unpack(work, "denoiser", work / "parcel")
        for after_steps in stops:
            _train(work, after_steps=after_steps)
        states.append(torch.load(work / "denoiser.pt", weights_only=True))
    assert states[0]["step"] == states[1]["step"] == 4
    for key, average in states[0]["ema"].items():
        torch.testing.assert_close(average, states[1]["ema"][key], rtol=0, atol=0)


def _train(work: Path, after_steps: int | None = None) -> None:
    Training(TINY, work, torch.device("cpu"), Stop(after_steps=after_steps)).denoiser()
