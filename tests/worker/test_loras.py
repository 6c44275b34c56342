"""Jobs with LoRAs: what the result says of them, and when a savepoint is of the same panorama."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.codec import from_json
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import JobRecord, Result, Status
from panoweave.core.loras import LoraSource
from panoweave.worker import attempt
from panoweave.worker.job import WorkerContext
from tests.core import tiny
from tests.worker.attempts import Post, at_step, run

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v"
INK = [{"name": "ink", "scale": 0.5}]
Make = Callable[[float], WorkerContext]


@pytest.fixture
def worker_with(context: WorkerContext, tmp_path: Path) -> Make:
    """A worker that offers a LoRA of this strength as `ink`."""

    def make(strength: float) -> WorkerContext:
        made = tiny.pipeline(tmp_path / "words")
        file = tmp_path / f"{strength:g}.safetensors"
        up, down = torch.full((32, 1), strength), torch.ones(1, 32)
        save_file({f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}, file)
        made.use_loras(Loras(made, {"ink": LoraSource(source=str(file))}, 2**20))
        generator = OomRetry(made, context.settings.window_batch)
        return dataclasses.replace(context, generator=generator)

    return make


@pytest.fixture
def post_to(post: Post, context: WorkerContext) -> Callable[..., JobRecord]:
    """A job of a model whose workers have LoRAs."""

    def create(worker: WorkerContext, **changes: object) -> JobRecord:
        with pytest.MonkeyPatch.context() as patched:
            traits = worker.generator.pipeline.traits
            patched.setattr(context.generator.pipeline, "traits", traits)
            return post(sync={"weight": 0}, **changes)

    return create


def made(worker: WorkerContext, record: JobRecord) -> Result:
    ended = run(worker, record)
    assert ended is not None
    assert ended.status is Status.SUCCEEDED, ended.error
    assert ended.result is not None
    return ended.result


def test_the_result_says_which_loras_it_was_made_with(
    worker_with: Make, post_to: Callable[..., JobRecord], objects: ObjectStore
) -> None:
    worker = worker_with(1.0)
    plain = made(worker, post_to(worker))
    with_ink = made(worker, post_to(worker, loras=INK))
    assert with_ink.sha256 != plain.sha256
    (used,) = with_ink.loras
    assert (used.name, used.scale, len(used.sha256)) == ("ink", 0.5, 64)
    assert "loras" not in plain.model_dump()
    kept = from_json(objects.get(with_ink.keys.metadata))
    assert kept.result is not None
    assert kept.result.loras == [used]
    assert kept.params.loras[0].name == "ink"
    # At 0 it changes nothing, and was not used.
    nothing = made(worker, post_to(worker, loras=[{"name": "ink", "scale": 0}]))
    assert nothing.loras == []


@pytest.mark.parametrize("is_the_same", [True, False])
def test_another_worker_goes_on_if_it_has_the_same_file(
    worker_with: Make,
    post_to: Callable[..., JobRecord],
    monkeypatch: pytest.MonkeyPatch,
    is_the_same: bool,
) -> None:
    monkeypatch.setattr(attempt, "DRAIN_S", -1)  # every job has longer to go
    worker, other = worker_with(1.0), worker_with(1.0 if is_the_same else 2.0)
    whole = made(other, post_to(other, loras=INK))
    with monkeypatch.context() as patched:
        at_step(3, worker.stopping.set, patched)
        record = post_to(worker, loras=INK)
        ended = run(worker, record)
        assert ended is not None
        assert ended.status is Status.QUEUED
    worker.stopping.clear()
    seen: list[str] = []
    at_step(1, lambda: seen.append("began again"), monkeypatch)
    assert made(other, record).sha256 == whole.sha256
    assert seen == ([] if is_the_same else ["began again"])


def test_a_worker_without_the_lora_refuses_it_by_name(
    worker_with: Make, post_to: Callable[..., JobRecord], context: WorkerContext
) -> None:
    """As while an operator changes what is offered, worker by worker."""
    worker = worker_with(1.0)
    failed = run(context, post_to(worker, loras=INK))
    assert failed is not None
    assert failed.error is not None
    assert failed.error.code is FailureCode.INVALID_PARAMS
    assert "loras" in failed.error.detail
    assert "PANOWEAVE_LORAS" in failed.error.detail
