"""LoRA weights, folded into a checkpoint's networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from panoweave.core.diffusion.checkpoints import add_lora
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from tests.core import alone, tiny

FILE = "pytorch_lora_weights.safetensors"


def lora(unet: Any, folder: Path, kind: type = StableDiffusionPipeline) -> None:
    """A LoRA of a UNet's attention, as diffusers' training scripts save it."""
    torch.manual_seed(3)
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    kind.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))  # type: ignore[attr-defined]
    unet.delete_adapters(["default"])


def theirs(parts: dict[str, Any], kind: type) -> Any:
    options: dict[str, Any] = {"add_watermarker": False}
    if kind is StableDiffusionPipeline:
        options = dict.fromkeys(("safety_checker", "feature_extractor"))
        options["requires_safety_checker"] = False
    return kind(**parts, **options)


@pytest.mark.parametrize("kind", [StableDiffusionPipeline, StableDiffusionXLPipeline])
@pytest.mark.parametrize("by_file", [True, False])
def test_a_window_is_diffusers_own_with_that_lora(
    tmp_path: Path, kind: type, by_file: bool
) -> None:
    def parts() -> dict[str, Any]:
        make = tiny.components if kind is StableDiffusionPipeline else tiny.components_xl
        return make(tmp_path / "words")

    lora(parts()["unet"], tmp_path, kind)
    ours = SyncDiffusionPipeline(**parts())
    without = alone.latents(tiny.in_float64(ours))
    add_lora(ours, str(tmp_path / FILE if by_file else tmp_path))
    reference = theirs(parts(), kind)
    reference.load_lora_weights(tmp_path)
    tiny.in_float64(ours)
    for network in reference.components.values():
        if isinstance(network, torch.nn.Module):
            network.double()
    expected = alone.diffusers_own(reference, alone.noise(ours))
    made = alone.latents(ours)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
    assert (made - without).abs().max() > 1e-2


def test_the_text_encoder_learns_too_and_the_sampler_stays(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    pipeline.scheduler = type(pipeline.scheduler).from_config(
        {**pipeline.scheduler.config, "steps_offset": 0}
    )
    before = pipeline.encode_prompt("a lake", "").conditional.tokens
    expected = dict(pipeline.scheduler.config)
    torch.manual_seed(3)
    other = tiny.pipeline(tmp_path / "words").text_encoder
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    inject_adapter_in_model(config, other)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, text_encoder_lora_layers=get_peft_model_state_dict(other)
    )
    add_lora(pipeline, str(tmp_path))
    after = pipeline.encode_prompt("a lake", "").conditional.tokens
    assert (after - before).abs().max() > 1e-3
    assert dict(pipeline.scheduler.config) == expected


def test_of_several_files_one_has_to_be_named(tmp_path: Path) -> None:
    lora(tiny.unet(), tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "another.safetensors")
    pipeline = tiny.pipeline(tmp_path / "words")
    with pytest.raises(CheckpointError, match=rf"found: another\.safetensors, {FILE}"):
        add_lora(pipeline, str(tmp_path))
    add_lora(pipeline, str(tmp_path / FILE))


def test_a_lora_of_another_size_is_refused(tmp_path: Path) -> None:
    lora(tiny.unet(cross_attention_dim=32), tmp_path)
    with pytest.raises(CheckpointError, match="cannot load the LoRA"):
        add_lora(tiny.pipeline(tmp_path / "words"), str(tmp_path))


def test_a_lora_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"transformer.block.lora_A.weight": torch.zeros(2, 2)}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"changes nothing|cannot load the LoRA"):
        add_lora(tiny.pipeline(tmp_path / "words"), str(tmp_path))


def test_a_lora_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no LoRA"):
        add_lora(tiny.pipeline(tmp_path / "words"), str(tmp_path / "nowhere"))


def kohya(unet: Any, *, dora: bool = False) -> dict[str, torch.Tensor]:
    """A LoRA of a UNet's attention, as kohya's scripts name its tensors."""
    torch.manual_seed(3)
    tensors = {}
    for name, layer in unet.named_modules():
        if name.endswith(("to_q", "to_v")):
            key, (out, into) = "lora_unet_" + name.replace(".", "_"), layer.weight.shape
            tensors[f"{key}.lora_down.weight"] = torch.randn(2, into)
            tensors[f"{key}.lora_up.weight"] = torch.randn(out, 2)
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
            if dora:
                tensors[f"{key}.dora_scale"] = torch.rand(out, 1)
    return tensors


def attention(pipeline: SyncDiffusionPipeline) -> dict[str, torch.Tensor]:
    return {
        name: tensor.clone()
        for name, tensor in pipeline.unet.state_dict().items()
        if name.endswith(("to_q.weight", "to_v.weight"))
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_layer_of_a_kohya_file_is_changed_by_what_it_says(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    pipeline = tiny.pipeline(tmp_path / "words").to(dtype=dtype)
    before, tensors = attention(pipeline), kohya(pipeline.unet)
    save_file(tensors, tmp_path / FILE)
    add_lora(pipeline, str(tmp_path))
    for name, after in attention(pipeline).items():
        key = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        up, down = tensors[f"{key}.lora_up.weight"], tensors[f"{key}.lora_down.weight"]
        expected = before[name].float() + 0.5 * up @ down  # alpha 1 by rank 2
        torch.testing.assert_close(after.float(), expected, rtol=2e-2, atol=2e-2)


def test_a_dora_in_kohyas_format_is_refused(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    save_file(kohya(pipeline.unet, dora=True), tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"it is a DoRA, lora_unet_.*dora_scale"):
        add_lora(pipeline, str(tmp_path))


def test_a_dora_in_pefts_format_is_folded_in_as_dora_defines_it(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path / "words")
    before, tensors = attention(pipeline), {}
    for name, weight in before.items():
        key, (out, into) = "unet." + name.removesuffix(".weight"), weight.shape
        tensors[f"{key}.lora_A.weight"] = torch.randn(2, into)
        tensors[f"{key}.lora_B.weight"] = torch.randn(out, 2)
        tensors[f"{key}.lora_magnitude_vector"] = torch.rand(out)
    save_file(tensors, tmp_path / FILE)
    add_lora(pipeline, str(tmp_path))
    for name, after in attention(pipeline).items():
        key = "unet." + name.removesuffix(".weight")
        moved = before[name] + tensors[f"{key}.lora_B.weight"] @ tensors[f"{key}.lora_A.weight"]
        length = moved.norm(dim=1, keepdim=True)
        expected = tensors[f"{key}.lora_magnitude_vector"][:, None] * moved / length
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


def test_a_lora_of_which_a_part_fits_is_refused_by_what_is_left_over(tmp_path: Path) -> None:
    lora(tiny.unet(), tmp_path)
    tensors = load_file(tmp_path / FILE)
    moved = {
        name.replace("mid_block", "mid_block_of_another"): tensor
        for name, tensor in tensors.items()
    }
    save_file(moved, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"8 of its 32 tensors fit nothing.*of_another"):
        add_lora(tiny.pipeline(tmp_path / "words"), str(tmp_path))


def test_a_lora_for_a_second_text_encoder_needs_one(tmp_path: Path) -> None:
    lora(tiny.unet(), tmp_path)
    tensors = load_file(tmp_path / FILE)
    layer = "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj"
    tensors[f"{layer}.lora_A.weight"] = torch.randn(2, 16)
    tensors[f"{layer}.lora_B.weight"] = torch.randn(16, 2)
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"2 of its 34 tensors fit nothing.*text_encoder_2"):
        add_lora(tiny.pipeline(tmp_path / "words"), str(tmp_path))


def test_half_a_lora_is_refused(tmp_path: Path) -> None:
    lora(tiny.unet(), tmp_path)
    tensors = load_file(tmp_path / FILE)
    dropped = next(name for name in tensors if "lora_A" in name or "lora.down" in name)
    del tensors[dropped]
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="cannot load the LoRA"):
        add_lora(tiny.pipeline(tmp_path / "words"), str(tmp_path))
