"""Text encoders that wait in the CPU's memory. tests/core/test_gpu_models.py has a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.text_offload import place_without_text_encoders
from panoweave.core.loras import LoraSource, ResolvedLora
from tests.core import tiny
from tests.core.flow import CASE, Make
from tests.core.loras import save, tensors_of
from tests.core.tiny_flow import FlowCase

# Copies are copies there too.
DEVICE = torch.device("cpu")


def places(network: Any) -> list[int]:
    return [tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())]


def embeddings(pipeline: SyncDiffusionPipeline) -> list[Tensor]:
    with torch.no_grad():
        found = pipeline.encode_prompt("a lake", "fog")
    texts = [text for text in (found.conditional, found.unconditional) if text]
    return [tensor for text in texts for tensor in (text.tokens, *text.added.values())]


def assert_one_at_a_time(pipeline: SyncDiffusionPipeline) -> None:
    """Prompts have the same bits, while one encoder computes with copies of its weights."""
    expected = embeddings(pipeline)
    homes = [places(encoder) for encoder in pipeline.text_encoders]
    place_without_text_encoders(pipeline, DEVICE)
    away: list[list[int]] = []

    def note(*_: Any) -> None:
        pairs = zip(pipeline.text_encoders, homes, strict=True)
        away.append([index for index, (one, home) in enumerate(pairs) if places(one) != home])

    for encoder in pipeline.text_encoders:
        encoder.register_forward_pre_hook(note)
    made = embeddings(pipeline)
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))
    assert {tuple(each) for each in away} == {(index,) for index in range(len(homes))}
    assert [places(encoder) for encoder in pipeline.text_encoders] == homes


@CASE
def test_of_flow_models(fresh_flow: Make, case: FlowCase) -> None:
    assert_one_at_a_time(fresh_flow(case))


@pytest.mark.parametrize("components", [tiny.components, tiny.components_xl])
def test_of_stable_diffusion(tmp_path: Path, components: Callable[[Path], Any]) -> None:
    assert_one_at_a_time(SyncDiffusionPipeline(**components(tmp_path)))


def test_after_an_error_they_wait_again(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path)
    expected, home = embeddings(pipeline), places(pipeline.text_encoder)
    place_without_text_encoders(pipeline, DEVICE)

    def run_out(*_: Any) -> None:
        raise torch.OutOfMemoryError

    failing = next(pipeline.text_encoder.children()).register_forward_pre_hook(run_out)
    with pytest.raises(torch.OutOfMemoryError):
        embeddings(pipeline)
    assert places(pipeline.text_encoder) == home
    failing.remove()
    made = embeddings(pipeline)
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))


def test_after_an_interruption_their_weights_are_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch calls no hook then, so the next prompt finds some of the copies."""
    pipeline = tiny.pipeline(tmp_path)
    expected, home = embeddings(pipeline), places(pipeline.text_encoder)
    place_without_text_encoders(pipeline, DEVICE)
    to, calls = Tensor.to, []

    def interrupt(self: Tensor, *args: Any, **options: Any) -> Tensor:
        calls.append(self)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return to(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Tensor, "to", interrupt)
        with pytest.raises(KeyboardInterrupt):
            embeddings(pipeline)
    assert places(pipeline.text_encoder) != home
    made = embeddings(pipeline)
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))
    assert places(pipeline.text_encoder) == home


def test_loras_change_them_where_they_wait(tmp_path: Path) -> None:
    pipelines = [tiny.pipeline(tmp_path) for _ in range(2)]
    place_without_text_encoders(pipelines[1], DEVICE)
    assert identify(pipelines[0]) == identify(pipelines[1])
    tensors = tensors_of(pipelines[0].text_encoder, ("q_proj",), 3, "text_encoder")
    offered: dict[str, LoraSource] = {"words": save(tensors, tmp_path / "words.safetensors")}
    before = embeddings(pipelines[0])
    made = []
    for pipeline in pipelines:
        loras = Loras(pipeline, offered, 2**20)
        pipeline.use_loras(loras)
        loras.fold_in([ResolvedLora(name="words")])
        made.append(embeddings(pipeline))
        loras.fold_in([])
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))
    assert not torch.equal(made[0][0], before[0])
    assert torch.equal(embeddings(pipelines[1])[0], before[0])
