"""LoRA weights, folded into a checkpoint's networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

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
