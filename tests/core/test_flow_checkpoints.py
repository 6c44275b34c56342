"""Checkpoints of flow-matching families: what loads, what is refused, LoRAs."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.checkpoints import add_lora, load_checkpoint, load_pipeline
from panoweave.core.diffusion.errors import CheckpointError, UnsupportedSchedulerError
from panoweave.core.diffusion.float8 import keep_in_float8
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.prompts import find_truncated_prompts
from panoweave.core.model_files.hub import _needed
from panoweave.core.model_files.index import PARTS
from panoweave.core.model_files.read import read_traits
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny, tiny_flow
from tests.core.flow import CASE, Make, Saved, diffusers_own, max_difference, params
from tests.core.tiny_flow import (
    CASES,
    CHANNELS,
    FLUX,
    MAX_TOKENS,
    SD3,
    WINDOW_PX,
    Z_IMAGE,
    FlowCase,
)


@CASE
def test_what_the_family_cannot_do_is_refused(fresh_flow: Make, case: FlowCase) -> None:
    pipeline = fresh_flow(case)
    title = pipeline.family.about.title
    refused: dict[str, tuple[dict[str, Any], str]] = {
        "scheduler": ({"scheduler": "ddim"}, "'euler'"),
        "control": ({"control": {"type": "canny", "image": {"key": "given"}}}, "null"),
        **case.refused,
    }
    for field, (changes, legal) in refused.items():
        asked = PanoramaParams.model_validate({"prompt": "a lake", **changes})
        with pytest.raises(InvalidParams) as raised:
            asked.resolve(pipeline.traits)
        assert (raised.value.field, raised.value.legal) == (field, legal)
    with pytest.raises(CheckpointError, match=f"{title} takes no ControlNet"):
        pipeline.use_controlnet(tiny.controlnet(tiny.unet()))


def save_lora(case: FlowCase, transformer: Any, folder: Path) -> None:
    """A LoRA of a transformer's attention, as diffusers' training scripts save it."""
    torch.manual_seed(3)
    layers = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    transformer.add_adapter(layers)
    weights = get_peft_model_state_dict(transformer)
    case.diffusers_class.save_lora_weights(folder, transformer_lora_layers=weights)
    transformer.delete_adapters(["default"])


@CASE
def test_a_window_is_diffusers_own_with_a_lora(
    fresh_flow: Make, case: FlowCase, tmp_path: Path
) -> None:
    ours, other = fresh_flow(case), fresh_flow(case)
    save_lora(case, other.transformer, tmp_path)
    asked = params(case, width=64, sync={"weight": 0})
    without = tiny.sample(ours, asked)
    add_lora(ours, str(tmp_path))
    made = tiny.sample(ours, asked)

    theirs = case.theirs(other)
    theirs.load_lora_weights(tmp_path)
    picture = diffusers_own(case, theirs, asked, tiny.draw_noise(ours, asked))
    assert max_difference(ours.decode(made), picture) <= 1
    assert (made - without).abs().max() > 1e-2


@CASE
def test_a_lora_of_another_size_is_refused(
    fresh_flow: Make, case: FlowCase, tmp_path: Path
) -> None:
    other = CASES[CASES.index(case) - 1]
    save_lora(other, fresh_flow(other).transformer, tmp_path)
    with pytest.raises(CheckpointError, match="cannot load the LoRA"):
        add_lora(fresh_flow(case), str(tmp_path))


def test_a_lora_that_diffusers_would_split_is_refused(fresh_flow: Make, tmp_path: Path) -> None:
    """In kohya's format for FLUX.1 query, key and value are one tensor."""
    layer = "lora_unet_double_blocks_0_img_attn_qkv"
    weights = {
        f"{layer}.lora_down.weight": torch.randn(2, 16),
        f"{layer}.lora_up.weight": torch.randn(48, 2),
        f"{layer}.alpha": torch.tensor(2.0),
    }
    save_file(weights, tmp_path / "kohya.safetensors")
    with pytest.raises(CheckpointError, match=r"fit nothing in this checkpoint.*PEFT's format"):
        add_lora(fresh_flow(FLUX), str(tmp_path))


@CASE
def test_a_saved_checkpoint_loads(
    saved_flow: Saved, case: FlowCase, perceptual: PerceptualLoss
) -> None:
    pipeline = load_checkpoint(str(saved_flow(case)))
    pipeline.perceptual = perceptual
    assert pipeline.traits.family == case.name
    assert read_traits(str(saved_flow(case))) == pipeline.traits
    pipeline.use_tiny_decoder(tiny.small_decoder(CHANNELS))
    made = pipeline(params(case, preset="fast", steps=2))
    assert made.image.size == (80, 64)
    assert pipeline.preview(tiny.draw_noise(pipeline, params(case))).size == (40, 32)
    half = load_checkpoint(str(saved_flow(case)), None)
    assert half.denoiser.dtype == torch.bfloat16


@CASE
def test_all_of_its_files_are_downloaded(saved_flow: Saved, case: FlowCase) -> None:
    files = [file for file in saved_flow(case).rglob("*") if file.is_file()]
    listed = sorted(str(file.relative_to(saved_flow(case))) for file in files)
    assert sorted(_needed(listed, ("", *PARTS))) == listed


@CASE
def test_a_checkpoint_that_is_not_whole_is_refused(
    saved_flow: Saved, case: FlowCase, tmp_path: Path
) -> None:
    checkpoint = Path(shutil.copytree(saved_flow(case), tmp_path / "model"))
    file = checkpoint / "transformer/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    first = min(weights)
    save_file({"renamed": weights.pop(first), **weights}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"transformer: {re.escape(first)} is not in its"):
        load_checkpoint(str(checkpoint))

    save_file({first: load_file(file)["renamed"], "more": torch.ones(1), **weights}, file)
    with pytest.raises(CheckpointError, match="transformer: more is in its files but not in"):
        load_checkpoint(str(checkpoint))

    config = checkpoint / "scheduler/scheduler_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "stochastic_sampling": True}))
    with pytest.raises(UnsupportedSchedulerError, match="with stochastic_sampling True"):
        load_checkpoint(str(checkpoint))
    config.write_text(json.dumps({**settings, "_class_name": "DDIMScheduler"}))
    with pytest.raises(UnsupportedSchedulerError, match="scheduler: DDIMScheduler is not"):
        load_checkpoint(str(checkpoint))


@CASE
def test_prompts_that_are_too_long_are_reported_and_not_logged(
    fresh_flow: Make, case: FlowCase, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = fresh_flow(case)
    reader = pipeline.family.prompt_reader(pipeline)
    words = "secret " * 100
    asked = params(case, prompt=words, negative_prompt="").resolve(pipeline.traits)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        pipeline.encode_prompt(words, "")
    assert "secret" not in caplog.text
    (found,) = find_truncated_prompts(reader, asked)
    assert (found.field, found.limit) == ("prompt", reader.limit)
    assert "secret" in found.text


def test_flux_schnell(tmp_path: Path, perceptual: PerceptualLoss) -> None:
    """It was distilled to four steps without guidance."""
    pipeline = SyncDiffusionPipeline(**tiny_flow.flux(tmp_path, guided=False))
    traits = pipeline.traits.model_copy(update={"window_px": WINDOW_PX})
    pipeline.traits = traits
    asked = PanoramaParams(prompt="a lake", width=80, seed=1)
    resolved = asked.resolve(traits)
    assert (resolved.steps, resolved.sync.steps, resolved.guidance_scale) == (4, 4, 1)
    pipeline.perceptual = perceptual
    assert tiny.sample(pipeline, asked).isfinite().all()
    with pytest.raises(InvalidParams) as raised:
        asked.model_copy(update={"guidance_scale": 3.5}).resolve(traits)
    assert (raised.value.field, raised.value.legal) == ("guidance_scale", "1")


def test_stable_diffusion_3_without_t5(tmp_path: Path) -> None:
    parts = {**tiny_flow.stable_diffusion_3(tmp_path / "words"), "text_encoder_3": None}
    with pytest.raises(CheckpointError, match="only one of text_encoder_3 and tokenizer_3"):
        SyncDiffusionPipeline(**parts)
    parts["tokenizer_3"] = None
    StableDiffusion3Pipeline(**parts).save_pretrained(tmp_path / "model")
    pipeline = load_checkpoint(str(tmp_path / "model"))
    assert read_traits(str(tmp_path / "model")) == pipeline.traits
    asked = PanoramaParams(prompt="a lake", width=80, steps=2, sync=SyncParams(weight=0))
    assert tiny.sample(pipeline, asked).isfinite().all()
    assert pipeline.family.prompt_reader(pipeline).limit == MAX_TOKENS - 2


@CASE
def test_weights_in_float8_are_weights_rounded_to_it(fresh_flow: Make, case: FlowCase) -> None:
    """Bit by bit, and so are their gradients."""
    stored, rounded = fresh_flow(case).to(torch.bfloat16), fresh_flow(case).to(torch.bfloat16)
    keep_in_float8(stored)
    weights = rounded.transformer.state_dict()
    kinds = {name: weight.dtype for name, weight in stored.transformer.state_dict().items()}
    in_float8 = [name for name, dtype in kinds.items() if dtype == torch.float8_e4m3fn]
    assert len(in_float8) > len(kinds) / 3
    for name in in_float8:
        weights[name].copy_(weights[name].to(torch.float8_e4m3fn))
    asked = params(case, steps=1)
    assert torch.equal(tiny.sample(stored, asked), tiny.sample(rounded, asked))
    assert stored.gradient_checkpointing
    assert stored.transformer.dtype == torch.bfloat16
    assert identify(stored).digest != identify(rounded).digest


def test_a_checkpoint_is_loaded_in_float8(saved_flow: Saved) -> None:
    options: dict[str, Any] = {"device": "cpu", "dtype": "float8"}
    pipeline = load_pipeline(str(saved_flow(FLUX)), perceptual="stlpips-alex", **options)
    assert pipeline(params(FLUX, steps=1)).image.size == (80, 64)
    assert pipeline.transformer.x_embedder.weight.dtype == torch.float8_e4m3fn
    assert pipeline.text_encoder_2.dtype == torch.bfloat16


def test_what_float8_cannot_hold_is_refused(fresh_flow: Make, tmp_path: Path) -> None:
    pipeline = fresh_flow(FLUX)
    pipeline.transformer.x_embedder.weight[0, 0] = 500
    with pytest.raises(CheckpointError, match=r"x_embedder\.weight has numbers beyond 448"):
        keep_in_float8(pipeline)
    with pytest.raises(CheckpointError, match=r"Stable Diffusion 1 and 2 has a UNet; legal: auto"):
        keep_in_float8(tiny.pipeline(tmp_path))


def test_z_image_reads_the_files_of_the_whole_language_model(
    saved_flow: Saved, tmp_path: Path
) -> None:
    """Its makers published Qwen3 as it is, with the layer that predicts words."""
    checkpoint = Path(shutil.copytree(saved_flow(Z_IMAGE), tmp_path / "model"))
    encoder = checkpoint / "text_encoder"
    config = Qwen3Config.from_pretrained(encoder)
    torch.manual_seed(5)
    whole = Qwen3ForCausalLM(config)
    shutil.rmtree(encoder)
    whole.save_pretrained(encoder)
    assert "lm_head.weight" in load_file(encoder / "model.safetensors")
    loaded = load_checkpoint(str(checkpoint)).text_encoder
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)


WRONG: dict[str, tuple[FlowCase, str, dict[str, Any], str]] = {
    "another text encoder": (
        SD3,
        "transformer/config.json",
        {"joint_attention_dim": 64},
        "joint_attention_dim is 64, the text encoders give 32",
    ),
    "an odd window": (SD3, "transformer/config.json", {"sample_size": 7}, "7 latents wide"),
    "a window that the network says": (
        SD3,
        "panoweave.json",
        {"window_px": 128},
        "its network has windows of 64 px",
    ),
    "inpainting": (
        FLUX,
        "transformer/config.json",
        {"in_channels": 96, "out_channels": 16},
        "takes latents of 24 channels and gives 4",
    ),
    "half a token": (FLUX, "panoweave.json", {"window_px": 72}, "legal: multiples of 16"),
    "no UNet": (
        FLUX,
        "panoweave.json",
        {"perturbed_attention": True},
        "has no UNet; legal: false",
    ),
    "a part of another pipeline": (
        FLUX,
        "model_index.json",
        {"image_encoder": ["transformers", "CLIPVisionModel"]},
        "names a part 'image_encoder'",
    ),
    "a model that reads pictures": (
        Z_IMAGE,
        "transformer/config.json",
        {"siglip_feat_dim": 8},
        "siglip_feat_dim is 8; legal: None",
    ),
    "another family's encoder": (
        Z_IMAGE,
        "model_index.json",
        {"text_encoder": ["transformers", "Gemma2Model"]},
        "it is a Gemma2Model of transformers; legal: Qwen3Model",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_without_torch_too(
    saved_flow: Saved, tmp_path: Path, wrong: str
) -> None:
    case, name, changes, said = WRONG[wrong]
    shutil.copytree(
        saved_flow(case), tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")
    )
    file = tmp_path / "model" / name
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))
    with pytest.raises(CheckpointError, match=re.escape(said)):
        read_traits(str(tmp_path / "model"))


def test_what_panoweaves_own_pipeline_saves_is_found_by_its_transformer(tmp_path: Path) -> None:
    FLUX.pipeline(tmp_path / "words").save_pretrained(tmp_path / "model")
    assert load_checkpoint(str(tmp_path / "model")).traits.family == "flux"
