"""LoRAs by request: each panorama has those that it asks for, whatever was made before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.checkpoints import add_lora, load_pipeline
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.loras import LoraSource
from tests.core import tiny
from tests.core.flow import CASE, Make, diffusers_own, max_difference, params
from tests.core.loras import (
    PLENTY,
    Asked,
    picture,
    pipeline_with,
    request,
    save,
    tensors_of,
    weights,
)
from tests.core.tiny_flow import CASES, FlowCase


@pytest.fixture
def pipeline(tmp_path: Path, offered: dict[str, LoraSource]) -> SyncDiffusionPipeline:
    return pipeline_with(offered, tmp_path)


def test_requests_that_alternate_have_the_bits_of_each_alone(
    tmp_path: Path, offered: dict[str, LoraSource], pipeline: SyncDiffusionPipeline
) -> None:
    asked: list[Asked] = [[("ink", 1)], [("fog", 0.7)], [("ink", -0.5), ("words", 1)], []]
    alone = []
    for each in asked:
        needed = {name: offered[name] for name, _ in each}
        alone.append(picture(pipeline_with(needed, tmp_path), *each))
    assert len(set(alone)) == len(asked)
    for _ in range(2):
        assert [picture(pipeline, *each) for each in asked] == alone


def test_what_a_request_leaves_is_the_checkpoint(pipeline: SyncDiffusionPipeline) -> None:
    before, identity = weights(pipeline), identify(pipeline)
    places = {name: weight.data_ptr() for name, weight in pipeline.unet.state_dict().items()}
    without = picture(pipeline)
    picture(pipeline, ("ink", 1), ("fog", 1))
    assert picture(pipeline, ("ink", 0), ("fog", 0)) == without
    assert all(torch.equal(weight, before[name]) for name, weight in weights(pipeline).items())
    assert identify(pipeline) == identity
    # CUDA graphs read weights where they were.
    now = {name: weight.data_ptr() for name, weight in pipeline.unet.state_dict().items()}
    assert now == places


def test_two_at_once_are_both_folded_in_by_hand(
    tmp_path: Path, offered: dict[str, LoraSource], pipeline: SyncDiffusionPipeline
) -> None:
    assert pipeline.loras
    by_hand = tiny.pipeline(tmp_path / "words")
    for name in ("fog", "words"):
        add_lora(by_hand, offered[name].source)
    pipeline.loras.fold_in(request(("fog", 1), ("words", 1)).loras)
    expected, before = weights(by_hand), weights(tiny.pipeline(tmp_path / "words"))
    for name, weight in weights(pipeline).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)
    changed = {name for name, weight in expected.items() if not torch.equal(weight, before[name])}
    assert len(changed) > 10


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_a_scale_is_diffusers_own(
    tmp_path: Path, offered: dict[str, LoraSource], pipeline: SyncDiffusionPipeline, scale: float
) -> None:
    """Its adapters are run, not folded in."""
    assert pipeline.loras
    pipeline.loras.fold_in(request(("fog", scale), ("ink", 0.25)).loras)
    other = tiny.pipeline(tmp_path / "words")
    theirs = other.family.lora_loader(other, other.scheduler)
    for name in ("fog", "ink"):
        theirs.load_lora_weights(load_file(offered[name].source), adapter_name=name)
    theirs.set_adapters(["fog", "ink"], [scale, 0.25])
    latents, tokens = torch.randn(1, 4, 8, 8), torch.randn(1, 16, 16)
    with torch.no_grad():
        expected = other.unet(latents, 10, tokens).sample
        made = pipeline.unet(latents, 10, tokens).sample
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


def test_the_order_of_a_request_does_not_matter(pipeline: SyncDiffusionPipeline) -> None:
    loras = ("ink", 1.0), ("fog", 0.3), ("words", -1.0)
    assert picture(pipeline, *loras) == picture(pipeline, *reversed(loras))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_what_is_added_up_is_rounded_once(
    offered: dict[str, LoraSource], pipeline: SyncDiffusionPipeline, dtype: torch.dtype
) -> None:
    pipeline.to(dtype=dtype)
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_v"
    weight = pipeline.unet.get_submodule(layer).weight
    original, expected = weight.clone(), weight.float()
    for name in ("fog", "ink"):
        tensors = load_file(offered[name].source)
        up, down = (tensors[f"unet.{layer}.lora_{side}.weight"].to(dtype).float() for side in "BA")
        expected = expected + 0.5 * (up @ down)
    made = Loras(pipeline, {name: offered[name] for name in ("ink", "fog")}, PLENTY)
    pipeline.use_loras(made)
    made.fold_in(request(("ink", 0.5), ("fog", 0.5)).loras)
    assert torch.equal(weight, expected.to(dtype))
    made.fold_in([])
    assert torch.equal(weight, original)


def test_a_dora_is_what_dora_defines(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    tensors = tensors_of(pipeline.unet, ("to_q", "conv1"), 4, "unet")
    for name in list(tensors):
        if name.endswith("lora_B.weight"):
            out = tensors[name].shape[0]
            vector = torch.rand(out) + 0.5
            kernel = tensors[name].dim() - 2
            tensors[name.replace("lora_B.weight", "lora_magnitude_vector")] = (
                vector.view(1, out, 1, 1) if kernel else vector
            )
    offered = {"dora": save(tensors, tmp_path / "dora.safetensors")}
    before = weights(pipeline)
    by_hand = tiny.pipeline(tmp_path / "words")
    add_lora(by_hand, offered["dora"].source)
    pipeline.use_loras(Loras(pipeline, offered, PLENTY))
    assert pipeline.loras
    pipeline.loras.fold_in(request(("dora", 1)).loras)
    whole, expected = weights(pipeline), weights(by_hand)
    for name, weight in whole.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5)
    # Half of it goes half of the way.
    pipeline.loras.fold_in(request(("dora", 0.5)).loras)
    for name, weight in weights(pipeline).items():
        torch.testing.assert_close(weight, (before[name] + whole[name]) / 2, rtol=1e-4, atol=1e-5)


def test_stable_diffusion_xl_has_two_text_encoders(tmp_path: Path) -> None:
    ours, by_hand = (
        SyncDiffusionPipeline(**tiny.components_xl(tmp_path / "words")) for _ in range(2)
    )
    tensors = tensors_of(ours.unet, ("to_q", "proj_in"), 6, "unet")
    tensors |= tensors_of(ours.text_encoder_2, ("v_proj",), 7, "text_encoder_2")
    offered = {"ink": save(tensors, tmp_path / "ink.safetensors")}
    ours.use_loras(Loras(ours, offered, PLENTY))
    add_lora(by_hand, offered["ink"].source)
    assert ours.loras
    before = ours.text_encoder_2.state_dict()
    before = {name: weight.clone() for name, weight in before.items()}
    ours.loras.fold_in(request(("ink", 1)).loras)
    for one, other in zip(ours.text_encoders, by_hand.text_encoders, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.unet.state_dict(), by_hand.unet.state_dict(), rtol=0, atol=1e-6)
    ours.loras.fold_in([])
    after = ours.text_encoder_2.state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())


@CASE
def test_flow_models_too(fresh_flow: Make, case: FlowCase, tmp_path: Path) -> None:
    ours, other = fresh_flow(case), fresh_flow(case)
    tensors = tensors_of(ours.transformer, ("to_q", "to_v"), 5, "transformer")
    offered = {"ink": save(tensors, tmp_path / "ink.safetensors")}
    ours.use_loras(Loras(ours, offered, PLENTY))
    asked = params(case, width=64, sync={"weight": 0})
    without = ours(asked).image
    with_it = asked.model_copy(update={"loras": request(("ink", 0.5)).loras})
    made = ours(with_it)
    assert [(lora.name, lora.scale) for lora in made.loras] == [("ink", 0.5)]

    theirs = case.theirs(other)
    theirs.load_lora_weights(tensors, adapter_name="ink")
    theirs.set_adapters("ink", 0.5)
    expected = diffusers_own(case, theirs, asked, tiny.draw_noise(ours, asked))
    assert max_difference(made.image, expected) <= 1
    assert max_difference(made.image, without) > 1
    assert ours(asked).image.tobytes() == without.tobytes()


def test_what_is_not_offered_is_refused_by_name(
    tmp_path: Path, pipeline: SyncDiffusionPipeline
) -> None:
    cases: list[tuple[SyncDiffusionPipeline, Asked, str, str]] = [
        (pipeline, [("ink", 1), ("oil", 1)], "loras.1.name", "'fog' or 'words'"),
        (pipeline, [("ink", 1), ("ink", 0.5)], "loras.1.name", "'fog' or 'words'"),
        (tiny.pipeline(tmp_path / "w"), [("ink", 1)], "loras", "an empty list, or a worker with"),
    ]
    for asked_of, loras, field, legal in cases:
        with pytest.raises(InvalidParams) as raised:
            asked_of(request(*loras))
        assert raised.value.field == field
        assert raised.value.legal.startswith(legal)


Broken = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def of_another(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("mid_block", "mid_block_7"): each for name, each in tensors.items()}


def kohyas_dora(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "lora_unet_mid_block_to_q.dora_scale": torch.rand(8, 1)}


def with_a_bias(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    biases = {
        name.replace("weight", "bias"): torch.ones(tensor.shape[0])
        for name, tensor in tensors.items()
        if name.endswith("lora_B.weight")
    }
    return {**tensors, **biases}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (of_another, r"cannot load the LoRA 'ink': \d+ of its \d+ tensors fit nothing"),
        (kohyas_dora, r"cannot load the LoRA 'ink': it is a DoRA"),
        (with_a_bias, r"cannot load the LoRA 'ink': .*bias"),
    ],
)
def test_a_lora_of_which_a_part_would_be_used_stops_the_worker(
    tmp_path: Path, offered: dict[str, LoraSource], broken: Broken, said: str
) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    names = [name for name, _ in pipeline.unet.named_parameters()]
    wrong = save(broken(load_file(offered["ink"].source)), tmp_path / "ink.safetensors")
    with pytest.raises(CheckpointError, match=said):
        Loras(pipeline, {"ink": wrong}, PLENTY)
    assert [name for name, _ in pipeline.unet.named_parameters()] == names


def test_a_control_lora_stops_the_worker(fresh_flow: Make, tmp_path: Path) -> None:
    """For it, diffusers gives FLUX.1 an input that no request has."""
    (flux,) = (case for case in CASES if case.name == "flux")
    pipeline = fresh_flow(flux)
    out, into = pipeline.transformer.x_embedder.weight.shape
    name = "transformer.x_embedder.lora_{}.weight"
    tensors = {name.format("A"): torch.randn(2, 2 * into), name.format("B"): torch.randn(out, 2)}
    with pytest.raises(CheckpointError, match="'depth': it widens layers of the checkpoint"):
        Loras(pipeline, {"depth": save(tensors, tmp_path / "depth.safetensors")}, PLENTY)


def test_they_are_loaded_beside_a_checkpoint(
    whole_checkpoint: Path, offered: dict[str, LoraSource]
) -> None:
    def load(**options: Any) -> SyncDiffusionPipeline:
        base: dict[str, Any] = {"perceptual": "stlpips-alex", "device": "cpu", "loras": offered}
        return load_pipeline(str(whole_checkpoint), **{**base, **options})

    pipeline = load()
    assert [lora.name for lora in pipeline.traits.loras] == ["ink", "fog", "words"]
    made = pipeline(request(("words", 1), ("ink", 0)))
    assert [lora.name for lora in made.loras] == ["words"]
    with pytest.raises(CheckpointError, match="PANOWEAVE_LORAS: weights in float8"):
        load(dtype="float8")
    with pytest.raises(CheckpointError, match="there is no LoRA '/nowhere"):
        load(loras={"ink": LoraSource(source="/nowhere/ink.safetensors")})
