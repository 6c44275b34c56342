"""Z-Image: a transformer that reads picture and prompt as one sequence, and a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import torch
from diffusers import ZImagePipeline
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from panoweave.core.diffusion.families.flow_model import FlowModel, FlowTransformer
from panoweave.core.diffusion.flow_matching import EvenFlowMatching, FlowMatching
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View
from panoweave.core.families import Z_IMAGE, Family

_MAX_TOKENS: Final = 512  # of a prompt in its chat template


class _Transformer(FlowTransformer):
    """A ZImageTransformer2DModel. See `guidance.Network`."""

    def __call__(
        self, latents: Tensor, step: Step, _views: Sequence[View], text: TextEmbedding
    ) -> Tensor:
        dtype: torch.dtype = self._transformer.dtype
        text, given = text.to(dtype), (latents * step.scale).to(dtype)
        outputs = self._transformer(
            list(given.unsqueeze(2)),  # pictures are films of one frame: (C, 1, S, S) each
            # From noise to picture, and rounded as in diffusers' pipeline.
            ((1000 - step.t) / 1000).expand(len(given)),
            [
                tokens[there > 0]
                for tokens, there in zip(text.tokens, text.added["there"], strict=True)
            ],
            return_dict=False,
        )[0]
        # It predicts x0 - e, the velocity from noise to picture.
        return -torch.stack(list(outputs)).squeeze(2).to(latents.dtype)


class ZImage(FlowModel):
    """See `ModelFamily`."""

    about: ClassVar[Family] = Z_IMAGE
    diffusers_class: ClassVar[Any] = ZImagePipeline
    network_class: ClassVar[type[FlowTransformer]] = _Transformer
    adapter: ClassVar[type[FlowMatching]] = EvenFlowMatching

    def prompt_reader(self, pipeline: Any) -> PromptReader:
        template = pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": ""}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        around = len(pipeline.tokenizer(template).input_ids)
        return PromptReader(pipeline.tokenizer, _max_tokens(pipeline) - around)

    def encode_prompt(self, pipeline: Any, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        texts, no_texts = self.diffusers_pipeline(pipeline).encode_prompt(
            prompt,
            negative_prompt=negative_prompt,
            device=pipeline.device,
            max_sequence_length=_max_tokens(pipeline),
        )
        # One row for each text, and which of its tokens there are.
        tokens = pad_sequence([*texts, *no_texts], batch_first=True)
        there = pad_sequence(
            [text.new_ones(len(text)) for text in (*texts, *no_texts)], batch_first=True
        )
        both = [TextEmbedding(tokens[i : i + 1], {"there": there[i : i + 1]}) for i in range(2)]
        return PromptEmbeddings(*both)


def _max_tokens(pipeline: Any) -> int:
    return min(_MAX_TOKENS, int(pipeline.tokenizer.model_max_length))
