"""What a checkpoint says is used, and what the networks need comes from it, or it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from safetensors.torch import load_file, save_file

from panoweave.core.diffusion.checkpoints import load_checkpoint, load_controlnet, load_tiny_decoder
from panoweave.core.diffusion.errors import CheckpointError, DiffusionError
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.model_files.hub import fetch_checkpoint, find_variant
from panoweave.deploy.local.ports import free_port
from tests.core import tiny

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def rename_weights(file: Path, rename: Callable[[str], str | None]) -> None:
    """`rename` gives the new name of a tensor, or None to leave it out."""
    tensors = {rename(name): tensor for name, tensor in load_file(file).items()}
    kept = {name: tensor for name, tensor in tensors.items() if name is not None}
    save_file(kept, file, metadata={"format": "pt"})


def with_scheduler(scheduler: Any) -> Callable[[Path], None]:
    return lambda checkpoint: scheduler.save_pretrained(checkpoint / "scheduler")


def with_settings(file: str, **changes: Any) -> Callable[[Path], None]:
    return lambda checkpoint: tiny.edit(checkpoint / file, **changes)


def without(*files: str) -> Callable[[Path], None]:
    def remove(checkpoint: Path) -> None:
        for file in files:
            (checkpoint / file).unlink()

    return remove


def with_renamed(file: str, rename: Callable[[str], str | None]) -> Callable[[Path], None]:
    return lambda checkpoint: rename_weights(checkpoint / file, rename)


def with_infinity(file: str, name: str) -> Callable[[Path], None]:
    def change(checkpoint: Path) -> None:
        weights = load_file(checkpoint / file)
        weights[name][0] = float("inf")
        save_file(weights, checkpoint / file, metadata={"format": "pt"})

    return change


def with_six_channels(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "vae")
    config = {k: v for k, v in tiny.autoencoder().config.items() if not k.startswith("_")}
    AutoencoderKL(**{**config, "in_channels": 6, "out_channels": 6}).save_pretrained(
        checkpoint / "vae"
    )


def without_merges(checkpoint: Path) -> None:
    file = checkpoint / "tokenizer/tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    letter = next(token for token, index in vocabulary.items() if index == 7)
    del vocabulary[letter]
    vocabulary["lake</w>"] = 7
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            with_scheduler(EDMEulerScheduler(sigma_data=1.0)),
            r"cannot load the checkpoint '.*': scheduler: EDMEulerScheduler is not supported",
        ),
        (with_scheduler(FlowMatchEulerDiscreteScheduler()), "FlowMatchEulerDiscreteScheduler is"),
        (
            with_scheduler(EulerDiscreteScheduler(timestep_type="continuous")),
            "EulerDiscreteScheduler with timestep_type 'continuous'",
        ),
        (
            with_scheduler(UniPCMultistepScheduler(use_flow_sigmas=True)),
            "UniPCMultistepScheduler with use_flow_sigmas True",
        ),
        (
            with_scheduler(UniPCMultistepScheduler(prediction_type="flow_prediction")),
            "flow_prediction",
        ),
        (
            with_settings("scheduler/scheduler_config.json", _class_name="OfTomorrow"),
            "OfTomorrow is not supported",
        ),
        (
            with_settings("scheduler/scheduler_config.json", beta_start=None),
            r"scheduler: .* does not say beta_start",
        ),
        (
            with_settings("scheduler/scheduler_config.json", beta_schedule="of tomorrow"),
            "scheduler: .*of tomorrow",
        ),
        (
            with_settings("scheduler/scheduler_config.json", noise_of_tomorrow=3),
            "scheduler: .*says noise_of_tomorrow, which the installed diffusers",
        ),
        (without("tokenizer/tokenizer.json"), r"tokenizer: it has no tokenizer\.json"),
        (
            with_settings("tokenizer/tokenizer_config.json", model_max_length=None),
            "tokenizer: .*model_max_length.*legal: 3 to 16",
        ),
        (
            with_settings("tokenizer/tokenizer_config.json", model_max_length=77),
            "tokenizer: .*model_max_length.*legal: 3 to 16",
        ),
        (
            with_settings("tokenizer/tokenizer_config.json", tokenizer_class="T5Tokenizer"),
            r"tokenizer: .*\.json says that it is a T5Tokenizer; legal: CLIPTokenizer",
        ),
        (
            with_settings("tokenizer/tokenizer_config.json", pad_token=None, bos_token=None),
            r"tokenizer: tokenizer_config\.json names no bos_token, no pad_token",
        ),
        (
            with_settings("text_encoder/config.json", eos_token_id=5),
            "tokenizer: .*says eos_token_id 5; legal: 189",
        ),
        (
            with_settings("text_encoder/config.json", model_type="bert"),
            r"text_encoder: its config\.json says model_type bert; legal: clip_text_model",
        ),
        (
            with_settings("text_encoder/config.json", hidden_size=32),
            r"text_encoder: .* is 16 x 16 in its files and 16 x 32 by its config\.json",
        ),
        (
            with_settings("unet/config.json", cross_attention_dim=32),
            r"unet: .*attn2\.to_k\.weight is 32 x 16 in its files and 32 x 32 by its config\.json",
        ),
        (without_merges, "tokenizer: .*'lake</w>'.*merges are incomplete"),
        (
            lambda checkpoint: (checkpoint / "tokenizer/tokenizer.json").write_text(POINTER),
            "tokenizer: tokenizer.json is a Git LFS pointer: run `git lfs pull`",
        ),
        (
            lambda checkpoint: (checkpoint / UNET).write_text(POINTER),
            "unet: diffusion_pytorch_model.safetensors is a Git LFS pointer",
        ),
        (
            with_renamed(TEXT_ENCODER, lambda name: name.replace("layers", "blocks")),
            r"text_encoder: .*encoder\.layers\.0.* are not in its files",
        ),
        (
            with_renamed(UNET, lambda name: None if "mid_block" in name else name),
            r"unet: mid_block\..* more are not in its files",
        ),
        (
            with_infinity(UNET, "conv_in.bias"),
            r"unet: conv_in\.bias is not finite as torch\.float32",
        ),
        (with_infinity(VAE, "quant_conv.bias"), r"vae: quant_conv\.bias is not finite"),
        (
            with_renamed(UNET, lambda name: None if name == "conv_out.bias" else name),
            r"unet: conv_out\.bias is not in its files",
        ),
        (
            with_settings("unet/config.json", mid_block_type=None),
            r"unet: mid_block\..* are in its files but not in a UNet2DConditionModel",
        ),
        (with_settings("unet/config.json", block_out_channels=[16, 64]), "unet: "),
        (
            with_settings("unet/config.json", pixel_magic=3),
            r"unet: its config\.json says pixel_magic, which the installed diffusers",
        ),
        (
            with_settings("vae/config.json", _class_name="AutoencoderDC"),
            "vae: it is a AutoencoderDC; legal: a AutoencoderKL",
        ),
        (without("vae/config.json"), r"vae: there is no config\.json"),
        (without(UNET), "unet: "),
        (
            with_settings("model_index.json", text_encoder=["transformers", "T5EncoderModel"]),
            "text_encoder: .*T5EncoderModel of transformers; legal: CLIPTextModel",
        ),
        (
            with_settings("model_index.json", prior=["diffusers", "PriorTransformer"]),
            "names a part 'prior'",
        ),
        (with_settings("model_index.json", tokenizer=[None, None]), "has no tokenizer"),
        (
            lambda checkpoint: (checkpoint / "model_index.json").write_text("{"),
            r"model_index\.json is not JSON",
        ),
        (with_six_channels, r"vae\.config\.in_channels is 6; legal: 3"),
    ],
)
def test_what_would_be_filled_in_or_left_out_is_refused_in_one_line(
    checkpoint: Path, change: Callable[[Path], None], said: str
) -> None:
    change(checkpoint)
    with pytest.raises(DiffusionError, match=said) as refusal:
        load_checkpoint(str(checkpoint))
    assert "\n" not in str(refusal.value)


def test_a_text_encoder_of_another_width_is_refused(tmp_path: Path) -> None:
    parts = tiny.components(tmp_path / "words")
    parts["unet"] = tiny.unet(cross_attention_dim=32)
    with pytest.raises(CheckpointError, match="cross_attention_dim is 32, the text encoders give"):
        SyncDiffusionPipeline(**parts)


def test_published_checkpoints_have_what_no_network_needs(checkpoint: Path) -> None:
    """Buffers of older versions, CLIP's other half, and filters of finished pictures."""
    file = checkpoint / TEXT_ENCODER
    extra = {
        "text_model.embeddings.position_ids": torch.arange(16)[None],
        "logit_scale": torch.ones(()),
        "text_projection.weight": torch.ones(16, 16),
    }
    save_file(load_file(file) | extra, file, metadata={"format": "pt"})
    tiny.edit(
        checkpoint / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        image_encoder=[None, None],
        requires_safety_checker=True,
    )
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    ).save_pretrained(checkpoint / "scheduler")
    loaded = load_checkpoint(str(checkpoint))
    assert loaded.scheduler.config.beta_end == 0.012


def to_fp16_files(checkpoint: Path) -> None:
    for file in sorted(checkpoint.glob("*/*.safetensors")):
        file.rename(file.with_suffix(".fp16.safetensors"))


def test_files_of_one_variant_load(checkpoint: Path, whole_checkpoint: Path) -> None:
    to_fp16_files(checkpoint)
    loaded, expected = load_checkpoint(str(checkpoint)), load_checkpoint(str(whole_checkpoint))
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(loaded, name).state_dict(), getattr(expected, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


def test_of_several_variants_one_has_to_be_kept(checkpoint: Path) -> None:
    file = checkpoint / UNET
    shutil.copy(file, file.with_suffix(".ema.safetensors"))
    load_checkpoint(str(checkpoint))
    file.rename(file.with_suffix(".fp16.safetensors"))
    with pytest.raises(CheckpointError, match=r"unet: .*variants, ema, fp16; keep one"):
        load_checkpoint(str(checkpoint))


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (["config.json", "model.safetensors"], None),
        (["model.fp16.safetensors"], "fp16"),
        (["model.fp16.safetensors", "model.bin"], None),
        (["pytorch_model.fp16.bin", "model.fp16.safetensors"], "fp16"),
        (["diffusion_pytorch_model.fp16-00001-of-00002.safetensors"], "fp16"),
        (["diffusion_pytorch_model-00001-of-00002.fp16.safetensors"], "fp16"),
        (["diffusion_pytorch_model-00001-of-00002.safetensors"], None),
        (["openvino_model.bin", "model.onnx", "flax_model.msgpack"], None),
    ],
)
def test_a_variant_is_read_from_the_names_of_files(names: list[str], variant: str | None) -> None:
    assert find_variant(names) == variant


def test_what_is_loaded_beside_a_checkpoint_has_to_be_whole(tmp_path: Path) -> None:
    tiny.controlnet(tiny.unet()).save_pretrained(tmp_path / "controlnet")
    tiny.small_decoder().save_pretrained(tmp_path / "decoder")
    name = "diffusion_pytorch_model.safetensors"
    for folder, first in (("controlnet", "conv_in.weight"), ("decoder", "decoder.layers.0.weight")):
        file = tmp_path / folder / name
        assert first in load_file(file)
        rename_weights(file, lambda name, first=first: None if name == first else name)  # type: ignore[misc]
    with pytest.raises(CheckpointError, match=r"ControlNet .*conv_in\.weight is not in its files"):
        load_controlnet(str(tmp_path / "controlnet"))
    with pytest.raises(CheckpointError, match=r"tiny decoder .*layers\.0\.weight is not in"):
        load_tiny_decoder(str(tmp_path / "decoder"))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.usefixtures("hub_cache")
def test_no_network_is_said_as_such() -> None:
    with pytest.raises(CheckpointError, match=r"not on this machine, and the hub does not answer"):
        load_checkpoint("some/model")
    with pytest.raises(CheckpointError, match="it is not on this machine; run `panoweave prefetch"):
        fetch_checkpoint("some/model", [""], local_files_only=True)


def test_without_a_network_the_cache_is_used(hub_cache: Path, whole_checkpoint: Path) -> None:
    stored = hub_cache / "models--some--model"
    shutil.copytree(whole_checkpoint, stored / "snapshots" / ("a" * 40))
    to_fp16_files(stored / "snapshots" / ("a" * 40))
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("a" * 40)
    load_checkpoint("some/model")
