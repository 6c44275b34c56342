"""Stable Diffusion 1 and 2: a UNet and one text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits
from panoweave.core.conditions import Control
from panoweave.core.diffusion.checkpoint_defaults import lcm_defaults
from panoweave.core.diffusion.checkpoint_parts import PartKinds, Tokenizer
from panoweave.core.diffusion.controlnet import ControlNet, read_hint
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader, TextEmbedding
from panoweave.core.diffusion.scheduler_files import load_ddpm_scheduler
from panoweave.core.diffusion.schedulers import SCHEDULERS, SchedulerAdapter, check_scheduler
from panoweave.core.diffusion.tokenizers import check_clip_tokenizer
from panoweave.core.diffusion.unet import UNet
from panoweave.core.families import STABLE_DIFFUSION, Family
from panoweave.core.params import ResolvedParams

_RGB: Final = 3
CLIP_TOKENIZERS: Final = {"CLIPTokenizer": CLIPTokenizer, "CLIPTokenizerFast": CLIPTokenizer}


class StableDiffusion:
    """See `ModelFamily`."""

    about: ClassVar[Family] = STABLE_DIFFUSION
    parts: ClassVar[PartKinds] = PartKinds(
        networks={
            "unet": (UNet2DConditionModel,),
            "vae": (AutoencoderKL, AutoencoderTiny, PatchAutoencoder),
            "text_encoder": (CLIPTextModel,),
        },
        tokenizers={"tokenizer": Tokenizer("text_encoder", CLIP_TOKENIZERS, check_clip_tokenizer)},
        needed=("unet", "vae", "tokenizer", "text_encoder"),
    )
    half_dtype: ClassVar[torch.dtype] = torch.float16
    # Of a UNet that takes more than one text embedding, the kind of what is added.
    addition_embed_type: ClassVar[str | None] = None
    # Autoencoders of this family are configured like SDXL's but do not overflow in float16.
    needs_upcast: ClassVar[bool] = False

    def load_scheduler(self, folder: Path) -> tuple[Any, str]:
        return load_ddpm_scheduler(folder)

    def fill_defaults(
        self, defaults: CheckpointDefaults, scheduler: str, pipeline: Any
    ) -> CheckpointDefaults:
        return lcm_defaults(defaults, pipeline.unet) if scheduler == "LCMScheduler" else defaults

    def check(self, pipeline: Any) -> None:
        check_scheduler(pipeline.scheduler)
        if pipeline.text_encoder is None:
            raise CheckpointError(
                "the checkpoint has no first text encoder, like SDXL's refiner; legal: SDXL's base"
            )
        for name in ("unet", "vae", "tokenizer"):
            if getattr(pipeline, name) is None:
                raise CheckpointError(f"the checkpoint has no {name}; legal: one with all parts")
        config = pipeline.unet.config
        if config.addition_embed_type != self.addition_embed_type:
            raise CheckpointError(
                f"unet.config.addition_embed_type is {config.addition_embed_type!r}; legal: null "
                "with one text encoder, 'text_time' with two"
            )
        for name in ("encoder_hid_dim_type", "class_embed_type", "num_class_embeds"):
            if config[name] is not None:
                raise CheckpointError(f"unet.config.{name} is {config[name]!r}; legal: null")
        if getattr(pipeline.vae.config, "latents_mean", None) is not None:
            raise CheckpointError("vae.config.latents_mean is set; legal: null")
        if getattr(pipeline.vae.config, "shift_factor", None):
            raise CheckpointError("vae.config.shift_factor is set; legal: null")
        for name in ("in_channels", "out_channels"):
            if (found := pipeline.vae.config.get(name, _RGB)) != _RGB:
                raise CheckpointError(f"vae.config.{name} is {found}; legal: {_RGB}, for pictures")
        self._check_text_width(pipeline)

    def _check_text_width(self, pipeline: Any) -> None:
        given = sum(encoder.config.hidden_size for encoder in _text_encoders(pipeline))
        taken = pipeline.unet.config.cross_attention_dim
        if {given} != set(taken if isinstance(taken, list | tuple) else [taken]):
            raise CheckpointError(
                f"unet.config.cross_attention_dim is {taken}, the text encoders give {given}; use "
                "parts that belong together"
            )

    def read_traits(self, pipeline: Any) -> CheckpointTraits:
        unet, vae = pipeline.unet.config, pipeline.vae.config
        channels = (unet.in_channels, unet.out_channels, vae.latent_channels)
        if len(set(channels)) != 1:
            raise CheckpointError(
                f"the UNet takes {channels[0]} channels and gives {channels[1]}, the autoencoder's "
                f"latents have {channels[2]}; legal: text-to-image checkpoints, where all are equal"
            )
        if not isinstance(unet.sample_size, int):
            raise CheckpointError(
                f"unet.config.sample_size is {unet.sample_size!r}, not one whole number"
            )
        px_per_latent = 2 ** (len(vae.block_out_channels) - 1)
        return CheckpointTraits(
            window_px=unet.sample_size * px_per_latent,
            px_per_latent=px_per_latent,
            family=self.about.name,
        )

    def prompt_reader(self, pipeline: Any) -> PromptReader:
        return PromptReader.of(pipeline.tokenizer)

    def scheduler(
        self, pipeline: Any, params: ResolvedParams, device: torch.device
    ) -> SchedulerAdapter:
        adapter = SCHEDULERS[params.scheduler]
        return adapter(pipeline.scheduler, params.steps, params.seed, device)

    def encode_prompt(self, pipeline: Any, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        encoder = pipeline.text_encoder
        tokens, mask = tokenize(pipeline.tokenizer, encoder, [prompt, negative_prompt])
        hidden = encoder(tokens, attention_mask=mask)[0]
        return PromptEmbeddings(TextEmbedding(hidden[:1]), TextEmbedding(hidden[1:]))

    def network(
        self,
        pipeline: Any,
        guidance_scale: float,
        control: Control | None,
        hint_image: Tensor | None,
        loop: bool,
    ) -> Network:
        unet = UNet(pipeline.unet, guidance_scale)
        if control is None or hint_image is None:
            return unet
        hint = read_hint(control, hint_image, loop)
        return ControlNet(
            unet, pipeline.controlnet, hint, pipeline.traits, loop=loop, scale=control.scale
        )

    def lora_loader(self, pipeline: Any, scheduler: Any) -> Any:
        return StableDiffusionPipeline(
            **{**pipeline.components, "scheduler": scheduler},
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def _text_encoders(pipeline: Any) -> list[Any]:
    both = (pipeline.text_encoder, pipeline.text_encoder_2)
    return [encoder for encoder in both if encoder is not None]


def tokenize(tokenizer: Any, text_encoder: Any, texts: list[str]) -> tuple[Tensor, Tensor | None]:
    """Token ids (N, tokens), padded and truncated, and the attention mask if one is used."""
    tokens = tokenizer(
        texts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    device = text_encoder.device
    use_mask = getattr(text_encoder.config, "use_attention_mask", False)
    return tokens.input_ids.to(device), tokens.attention_mask.to(device) if use_mask else None
