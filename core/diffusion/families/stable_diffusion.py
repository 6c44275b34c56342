"""Stable Diffusion 1 and 2: a UNet and one text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from panoweave.core.conditions import Control
from panoweave.core.diffusion.controlnet import ControlNet, read_hint
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader, TextEmbedding
from panoweave.core.diffusion.scheduler_files import load_ddpm_scheduler
from panoweave.core.diffusion.schedulers import SCHEDULERS, SchedulerAdapter, check_scheduler
from panoweave.core.diffusion.unet import UNet
from panoweave.core.families import STABLE_DIFFUSION, Family
from panoweave.core.params import ResolvedParams


class StableDiffusion:
    """See `ModelFamily`."""

    about: ClassVar[Family] = STABLE_DIFFUSION
    half_dtype: ClassVar[torch.dtype] = torch.float16
    # Autoencoders of this family are configured like SDXL's but do not overflow in float16.
    needs_upcast: ClassVar[bool] = False

    def load_scheduler(self, folder: Path) -> tuple[Any, str]:
        return load_ddpm_scheduler(folder)

    def check_scheduler(self, scheduler: Any) -> None:
        check_scheduler(scheduler)

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
