"""Tiny random Stable Diffusion checkpoints of real diffusers classes, and how to sample them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from panoweave.core.diffusion.perceptual import Lpips
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams

WINDOW_LATENTS = 8
PX_PER_LATENT = 8
_SIZE_CHANNELS = 8


def tokenizer(folder: Path) -> CLIPTokenizer:
    """A byte-level BPE of single letters: every text has ids, none needs a download."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def stable_diffusions_scheduler(prediction_type: str = "epsilon") -> DDIMScheduler:
    """DDIM over the noise schedule of Stable Diffusion 1 and 2."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def components(
    folder: Path, prediction_type: str = "epsilon", window_latents: int = WINDOW_LATENTS
) -> dict[str, Any]:
    torch.manual_seed(0)
    words = tokenizer(folder)
    return {
        "text_encoder": CLIPTextModel(text_config(words, layers=1)),
        "unet": unet(sample_size=window_latents),
        "vae": autoencoder(),
        "tokenizer": words,
        "scheduler": stable_diffusions_scheduler(prediction_type),
    }


def components_xl(folder: Path) -> dict[str, Any]:
    """SDXL's: two text encoders, pooled embeddings, sizes."""
    torch.manual_seed(0)
    words = tokenizer(folder)
    config = text_config(words, layers=2)  # what is read is the last but one
    sizes = 6 * _SIZE_CHANNELS
    return {
        "text_encoder": CLIPTextModel(config),
        "text_encoder_2": CLIPTextModelWithProjection(config),
        "tokenizer": words,
        "tokenizer_2": words,
        "unet": unet(
            cross_attention_dim=2 * config.hidden_size,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=_SIZE_CHANNELS,
            projection_class_embeddings_input_dim=sizes + config.projection_dim,
        ),
        "vae": autoencoder(),
        "scheduler": stable_diffusions_scheduler(),
    }


def unet(**changes: Any) -> UNet2DConditionModel:
    config: dict[str, Any] = {
        "sample_size": WINDOW_LATENTS,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**config, **changes})


def autoencoder(**changes: Any) -> AutoencoderKL:
    config: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }
    return AutoencoderKL(**{**config, **changes})


def small_decoder(channels: int = 4) -> AutoencoderTiny:
    """Of three levels: its images are half as large as those of `autoencoder`."""
    torch.manual_seed(1)
    return AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=(8,) * 3,
        decoder_block_out_channels=(8,) * 3,
        num_encoder_blocks=(0,) * 3,
        num_decoder_blocks=(1,) * 3,
    )


def controlnet(network: UNet2DConditionModel) -> ControlNetModel:
    """One that has learnt something: its last layers, zero at first, are not."""
    torch.manual_seed(1)
    made = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(8, 8, 16, 16))
    heads = [*made.controlnet_down_blocks, made.controlnet_mid_block]
    for layer in [*heads, made.controlnet_cond_embedding.conv_out]:
        nn.init.normal_(layer.weight, std=0.3)
    return made


def perceptual() -> Lpips:
    """LPIPS over two small convolutions: a tenth of the work of the real network.

    For tests that need windows to be synchronised and not by what.
    """
    torch.manual_seed(2)
    stages = [
        nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()),
    ]
    return Lpips("tiny", stages, [torch.rand(8), torch.rand(16)])


def text_config(words: CLIPTokenizer, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )


def pipeline(folder: Path, **options: Any) -> SyncDiffusionPipeline:
    return SyncDiffusionPipeline(**components(folder, **options))


def in_float64(pipeline: SyncDiffusionPipeline) -> SyncDiffusionPipeline:
    """In float64 equal means equal: random networks amplify the rounding of float32."""
    for network in (
        pipeline.denoiser,
        pipeline.vae,
        *pipeline.text_encoders,
        pipeline.controlnet,
    ):
        if network is not None:
            network.double()
    return pipeline


def draw_noise(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> Tensor:
    """The noise that a panorama begins with; in float64 if the pipeline is."""
    noise = pipeline.draw_noise(params.resolve(pipeline.traits))
    return noise.double() if pipeline.denoiser.dtype == torch.float64 else noise


def sample(
    pipeline: SyncDiffusionPipeline,
    params: PanoramaParams,
    images: Mapping[str, Tensor] = MappingProxyType({}),
    *,
    noise: Tensor | None = None,
    window_batch: int = 3,
) -> Tensor:
    """Clean latents (1, C, H/f, W/f). `noise`: in place of the seed's own."""
    resolved = params.resolve(pipeline.traits)
    with torch.no_grad():
        prompts = pipeline.encode_prompt(resolved.prompt, resolved.negative_prompt)
    start = draw_noise(pipeline, params) if noise is None else noise
    return pipeline.sample(start, resolved, prompts, images, window_batch=window_batch)


def edit(file: Path, **changes: Any) -> None:
    """Change fields of a JSON file of a checkpoint."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
