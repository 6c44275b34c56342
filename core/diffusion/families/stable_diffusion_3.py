"""Stable Diffusion 3 and 3.5 (arXiv 2403.03206): a transformer and up to three text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor

from panoweave.core.diffusion.families.flow_model import (
    FlowModel,
    FlowTransformer,
    log_no_prompts,
    t5_tokens,
)
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View
from panoweave.core.families import STABLE_DIFFUSION_3, Family

_MAX_T5_TOKENS: Final = 256

log_no_prompts(StableDiffusion3Pipeline)


class _Transformer(FlowTransformer):
    """An SD3Transformer2DModel. See `guidance.Network`."""

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


class StableDiffusion3(FlowModel):
    """See `ModelFamily`. The third text encoder, T5, may be missing."""

    about: ClassVar[Family] = STABLE_DIFFUSION_3
    diffusers_class: ClassVar[Any] = StableDiffusion3Pipeline
    network_class: ClassVar[type[FlowTransformer]] = _Transformer
    max_shift: ClassVar[float] = 1.16

    def prompt_reader(self, pipeline: Any) -> PromptReader:
        if pipeline.tokenizer_3 is None:
            return PromptReader.of(pipeline.tokenizer)
        return PromptReader.of(
            pipeline.tokenizer_3, t5_tokens(pipeline.tokenizer_3, _MAX_T5_TOKENS)
        )

    def encode_prompt(self, pipeline: Any, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        theirs = self.diffusers_pipeline(pipeline)
        tokens, no_tokens, pooled, no_pooled = theirs.encode_prompt(
            prompt,
            prompt_2=None,  # the same for all encoders
            prompt_3=None,
            negative_prompt=negative_prompt,
            device=pipeline.device,
            max_sequence_length=_max_tokens(pipeline),
        )
        return PromptEmbeddings(_embedding(tokens, pooled), _embedding(no_tokens, no_pooled))


def _embedding(tokens: Tensor, pooled: Tensor) -> TextEmbedding:
    return TextEmbedding(tokens, {"pooled": pooled})


def _max_tokens(pipeline: Any) -> int:
    """That T5 reads; where there is none, as many zeros stand for them."""
    tokenizer = pipeline.tokenizer_3
    return _MAX_T5_TOKENS if tokenizer is None else t5_tokens(tokenizer, _MAX_T5_TOKENS)
