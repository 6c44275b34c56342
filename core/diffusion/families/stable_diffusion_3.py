"""Stable Diffusion 3 and 3.5 (arXiv 2403.03206): a transformer and up to three text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import Tensor
from transformers import CLIPTextModelWithProjection, T5EncoderModel, T5Tokenizer

from panoweave.core.conditions import Control
from panoweave.core.diffusion.checkpoint_parts import PartKinds, Tokenizer
from panoweave.core.diffusion.families.flow_model import FlowModel, log_no_prompts
from panoweave.core.diffusion.families.stable_diffusion import CLIP_TOKENIZERS
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.tokenizers import check_clip_tokenizer, check_t5_tokenizer
from panoweave.core.diffusion.views import View
from panoweave.core.families import STABLE_DIFFUSION_3, Family

T5_TOKENIZERS: Final = {"T5TokenizerFast": T5Tokenizer, "T5Tokenizer": T5Tokenizer}
_MAX_T5_TOKENS: Final = 256

log_no_prompts(StableDiffusion3Pipeline)


class StableDiffusion3(FlowModel):
    """See `ModelFamily`. The third text encoder, T5, may be missing."""

    about: ClassVar[Family] = STABLE_DIFFUSION_3
    parts: ClassVar[PartKinds] = PartKinds(
        networks={
            "transformer": (SD3Transformer2DModel,),
            "vae": (AutoencoderKL, AutoencoderTiny),
            "text_encoder": (CLIPTextModelWithProjection,),
            "text_encoder_2": (CLIPTextModelWithProjection,),
            "text_encoder_3": (T5EncoderModel,),
        },
        tokenizers={
            "tokenizer": Tokenizer("text_encoder", CLIP_TOKENIZERS, check_clip_tokenizer),
            "tokenizer_2": Tokenizer("text_encoder_2", CLIP_TOKENIZERS, check_clip_tokenizer),
            "tokenizer_3": Tokenizer("text_encoder_3", T5_TOKENIZERS, check_t5_tokenizer),
        },
        needed=(
            *("transformer", "vae", "text_encoder", "tokenizer"),
            *("text_encoder_2", "tokenizer_2"),
        ),
    )
    diffusers_class: ClassVar[Any] = StableDiffusion3Pipeline
    max_shift: ClassVar[float] = 1.16
    guidance_scale: ClassVar[float] = 7.0

    def widths(self, pipeline: Any) -> list[tuple[int, int, str]]:
        config = pipeline.transformer.config
        clips = (pipeline.text_encoder.config, pipeline.text_encoder_2.config)
        pooled = sum(clip.projection_dim for clip in clips)
        pairs = [(config.pooled_projection_dim, pooled, "pooled_projection_dim")]
        if t5 := pipeline.text_encoder_3:
            pairs.append((config.joint_attention_dim, t5.config.d_model, "joint_attention_dim"))
        return pairs

    def latent_channels(self, pipeline: Any) -> tuple[int, int]:
        config = pipeline.transformer.config
        return config.in_channels, config.out_channels or config.in_channels

    def window_latents(self, pipeline: Any) -> int:
        return int(pipeline.transformer.config.sample_size)

    def prompt_reader(self, pipeline: Any) -> PromptReader:
        if pipeline.tokenizer_3 is None:
            return PromptReader.of(pipeline.tokenizer)
        return PromptReader.of(pipeline.tokenizer_3, t5_tokens(pipeline.tokenizer_3))

    def encode_prompt(self, pipeline: Any, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        limit = t5_tokens(pipeline.tokenizer_3) if pipeline.tokenizer_3 else _MAX_T5_TOKENS
        theirs = self.diffusers_pipeline(pipeline)
        tokens, no_tokens, pooled, no_pooled = theirs.encode_prompt(
            prompt,
            prompt_2=None,  # the same for all encoders
            prompt_3=None,
            negative_prompt=negative_prompt,
            device=pipeline.device,
            max_sequence_length=limit,
        )
        return PromptEmbeddings(_embedding(tokens, pooled), _embedding(no_tokens, no_pooled))

    def network(
        self,
        pipeline: Any,
        _guidance_scale: float,
        _control: Control | None,
        _hint_image: Tensor | None,
        _loop: bool,
    ) -> Network:
        return _Transformer(pipeline.transformer)


class _Transformer:
    """An SD3Transformer2DModel. See `guidance.Network`."""

    embeds_guidance: ClassVar[bool] = False

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer

    def __call__(
        self, latents: Tensor, step: Step, _views: Sequence[View], text: TextEmbedding
    ) -> Tensor:
        dtype: torch.dtype = self._transformer.dtype
        text = text.to(dtype)
        output: Tensor = self._transformer(
            hidden_states=(latents * step.scale).to(dtype),
            timestep=step.t.expand(len(latents)),
            encoder_hidden_states=text.tokens,
            pooled_projections=text.added["pooled"],
            return_dict=False,
        )[0]
        return output.to(latents.dtype)


def _embedding(tokens: Tensor, pooled: Tensor) -> TextEmbedding:
    return TextEmbedding(tokens, {"pooled": pooled})


def t5_tokens(tokenizer: Any, most: int = _MAX_T5_TOKENS) -> int:
    """How many tokens T5 reads, the end included."""
    return min(most, int(tokenizer.model_max_length))
