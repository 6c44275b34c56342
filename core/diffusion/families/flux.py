"""FLUX.1, dev and schnell: a transformer on packed latents, guided by an input or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import torch
from diffusers import FluxPipeline
from torch import Tensor

from panoweave.core.diffusion.families.flow_model import (
    FlowModel,
    FlowTransformer,
    log_no_prompts,
    t5_tokens,
)
from panoweave.core.diffusion.flow_matching import EvenFlowMatching, FlowMatching
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View
from panoweave.core.families import FLUX, Family

_DEV_TOKENS: Final = 512  # that T5 reads
_SCHNELL_TOKENS: Final = 256

log_no_prompts(FluxPipeline)


class _Transformer(FlowTransformer):
    """A FluxTransformer2DModel. See `guidance.Network`."""

    embeds_guidance: ClassVar[bool] = True

    def __call__(
        self, latents: Tensor, step: Step, _views: Sequence[View], text: TextEmbedding
    ) -> Tensor:
        dtype: torch.dtype = self._transformer.dtype
        count, channels, height, width = latents.shape
        text, given = text.to(dtype), (latents * step.scale).to(dtype)
        is_guided = self._transformer.config.guidance_embeds
        guidance = step.t.new_full([count], self._guidance_scale) if is_guided else None
        output = self._transformer(
            hidden_states=FluxPipeline._pack_latents(given, count, channels, height, width),
            timestep=step.t.expand(count) / 1000,
            guidance=guidance,
            pooled_projections=text.added["pooled"],
            encoder_hidden_states=text.tokens,
            txt_ids=torch.zeros(text.tokens.shape[1], 3, device=given.device),
            img_ids=FluxPipeline._prepare_latent_image_ids(
                count, height // 2, width // 2, given.device, torch.float32
            ),
            return_dict=False,
        )[0]
        unpacked: Tensor = FluxPipeline._unpack_latents(output, height, width, 1)
        return unpacked.to(latents.dtype)


class Flux(FlowModel):
    """See `ModelFamily`. A window has a window's position ids, wherever it lies on the canvas."""

    about: ClassVar[Family] = FLUX
    diffusers_class: ClassVar[Any] = FluxPipeline
    network_class: ClassVar[type[FlowTransformer]] = _Transformer
    adapter: ClassVar[type[FlowMatching]] = EvenFlowMatching

    def prompt_reader(self, pipeline: Any) -> PromptReader:
        return PromptReader.of(pipeline.tokenizer_2, _max_tokens(pipeline))

    def encode_prompt(self, pipeline: Any, prompt: str, _negative_prompt: str) -> PromptEmbeddings:
        tokens, pooled, _ = self.diffusers_pipeline(pipeline).encode_prompt(
            prompt,
            prompt_2=None,  # the same for both encoders
            device=pipeline.device,
            max_sequence_length=_max_tokens(pipeline),
        )
        return PromptEmbeddings(TextEmbedding(tokens, {"pooled": pooled}), None)


def _max_tokens(pipeline: Any) -> int:
    guided = pipeline.transformer.config.guidance_embeds
    return t5_tokens(pipeline.tokenizer_2, _DEV_TOKENS if guided else _SCHNELL_TOKENS)
