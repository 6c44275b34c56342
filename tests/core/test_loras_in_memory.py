"""LoRAs that a worker keeps: which it reads again, and what is left where memory runs out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from panoweave.core.diffusion import lora_adapters
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.lora_adapters import LayerChange, weight_at
from panoweave.core.diffusion.lora_coverage import read_lora
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.loras import LoraSource
from tests.core import tiny
from tests.core.loras import (
    Asked,
    picture,
    pipeline_with,
    request,
    save,
    weights,
)


def test_what_was_not_used_for_longest_is_read_again(
    tmp_path: Path, offered: dict[str, LoraSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    read: list[str] = []
    read_changes = lora_adapters.read_changes

    def note(pipeline: Any, file: Path, name: str) -> Any:
        read.append(name)
        return read_changes(pipeline, file, name)

    monkeypatch.setattr("panoweave.core.diffusion.loras.read_changes", note)
    sizes = {name: os.path.getsize(each.source) for name, each in offered.items()}
    made = Loras(pipeline, offered, max_bytes=sizes["ink"] + sizes["words"])
    pipeline.use_loras(made)
    assert read == ["ink", "fog", "words"]  # all are checked; `ink` and `fog` had to go
    read.clear()

    def use(*names: str) -> list[str]:
        made.fold_in(request(*((name, 1) for name in names)).loras)
        found = list(read)
        read.clear()
        return found

    assert use("words") == []
    assert use("ink") == ["ink"]
    assert use("words") == []
    assert use("fog") == ["fog"]  # `ink` goes: `words` was used since
    assert use("ink") == ["ink"]
    # Those of one panorama stay together, whatever they need.
    assert set(use("ink", "fog", "words")) <= {"fog", "words"}
    assert use("ink", "words", "fog") == []


def test_a_file_that_has_changed_is_not_used(
    tmp_path: Path, offered: dict[str, LoraSource]
) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    file = tmp_path / "ink.safetensors"
    tensors = load_file(offered["ink"].source)
    made = Loras(pipeline, {"ink": save(tensors, file)}, max_bytes=0)
    pipeline.use_loras(made)
    before = weights(pipeline)
    save({name: 2 * tensor for name, tensor in tensors.items()}, file)
    with pytest.raises(CheckpointError, match="'ink' has changed since this worker started"):
        pipeline(request(("ink", 1)))
    assert all(torch.equal(weight, before[name]) for name, weight in weights(pipeline).items())
    file.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read the LoRA 'ink': .*No such file"):
        pipeline(request(("ink", 1)))


def test_where_memory_runs_out_the_weights_are_the_checkpoints(
    tmp_path: Path, offered: dict[str, LoraSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_with(offered, tmp_path)
    before, with_it = weights(pipeline), picture(pipeline, ("ink", 1))
    picture(pipeline)
    of, calls = LayerChange.of, []

    def run_out(self: LayerChange, weight: torch.Tensor) -> torch.Tensor:
        calls.append(weight)
        if len(calls) == 5:
            raise torch.OutOfMemoryError
        return of(self, weight)

    monkeypatch.setattr(LayerChange, "of", run_out)
    with pytest.raises(torch.OutOfMemoryError):
        pipeline(request(("ink", 1)))
    assert all(torch.equal(weight, before[name]) for name, weight in weights(pipeline).items())
    assert picture(pipeline, ("ink", 1)) == with_it


def test_where_memory_runs_out_while_one_is_read_less_is_used(
    tmp_path: Path, offered: dict[str, LoraSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    pipeline.use_loras(Loras(pipeline, offered, max_bytes=0))
    with_it = picture(pipeline, ("ink", 1))
    picture(pipeline)
    calls: list[Path] = []

    def run_out(file: Path) -> Any:
        calls.append(file)
        if len(calls) == 1:
            raise torch.OutOfMemoryError
        return read_lora(file)

    monkeypatch.setattr(lora_adapters, "read_lora", run_out)
    worker = OomRetry(pipeline, window_batch=8)
    assert worker.generate(request(("ink", 1))).image.tobytes() == with_it
    resolved = request(("ink", 1)).resolve(pipeline.traits)
    assert worker.memory_use(resolved).window_batch == 4


@pytest.mark.parametrize("asked", [[], [("fog", 1.0)]])
def test_weights_that_were_partly_restored_are_restored_by_the_next_request(
    tmp_path: Path,
    offered: dict[str, LoraSource],
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
) -> None:
    pipeline = pipeline_with(offered, tmp_path)
    expected = picture(pipeline, *asked)
    picture(pipeline, ("ink", 1))
    calls: list[Any] = []

    def interrupt(pipeline: Any, place: Any) -> Any:
        calls.append(place)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return weight_at(pipeline, place)

    with monkeypatch.context() as patched:
        patched.setattr("panoweave.core.diffusion.loras.weight_at", interrupt)
        with pytest.raises(KeyboardInterrupt):
            picture(pipeline, *asked)
    assert picture(pipeline, *asked) == expected
