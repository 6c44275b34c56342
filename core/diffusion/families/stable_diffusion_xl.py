"""Stable Diffusion XL (arXiv 2307.01952): a UNet and two text encoders, side by side."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from panoweave.core.diffusion.families.stable_diffusion import StableDiffusion, tokenize
from panoweave.core.diffusion.prompts import PromptEmbeddings, TextEmbedding
from panoweave.core.families import STABLE_DIFFUSION_XL, Family


class StableDiffusionXL(StableDiffusion):
    """See `ModelFamily`. Every window is described to the UNet as a whole image of its size."""

    about: ClassVar[Family] = STABLE_DIFFUSION_XL
    needs_upcast: ClassVar[bool] = True

    def encode_prompt(self, pipeline: Any, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        hidden, pooled = [], torch.empty(0)
        for tokenizer, text_encoder in (
            (pipeline.tokenizer, pipeline.text_encoder),
            (pipeline.tokenizer_2, pipeline.text_encoder_2),
        ):
            tokens, _ = tokenize(tokenizer, text_encoder, [prompt, negative_prompt])
            output = text_encoder(tokens, output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
            pooled = output[0]  # of the second encoder: the projection (2, channels)
        states = torch.cat(hidden, dim=-1)
        if pipeline.config.force_zeros_for_empty_prompt and not negative_prompt:
            states[1:], pooled[1:] = 0, 0
        window_px = pipeline.traits.window_px
        return PromptEmbeddings(
            *(_embedding(states[i : i + 1], pooled[i : i + 1], window_px) for i in range(2))
        )

    def lora_loader(self, pipeline: Any, scheduler: Any) -> Any:
        return StableDiffusionXLPipeline(
            **{**pipeline.components, "scheduler": scheduler}, add_watermarker=False
        )


def _embedding(tokens: Tensor, pooled: Tensor, side: int) -> TextEmbedding:
    # The original size, the corner of the crop, and the size to make; each (height, width).
    sizes = pooled.new_tensor([[side, side, 0, 0, side, side]])
    return TextEmbedding(tokens, {"text_embeds": pooled, "time_ids": sizes})
