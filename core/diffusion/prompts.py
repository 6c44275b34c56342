"""Prompts, as a UNet is told them; and what of them a text encoder does not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from panoweave.core.params import ResolvedParams


@dataclass(frozen=True)
class TextEmbedding:
    """What a UNet is told of N texts."""

    tokens: Tensor  # (N, tokens, channels)
    # Beside them, in SDXL's format: text_embeds (N, channels) and time_ids (N, 6).
    added: Mapping[str, Tensor] = field(default_factory=dict)

    def repeated(self, count: int) -> Self:
        """One text, N times."""
        added = {name: part.expand(count, -1) for name, part in self.added.items()}
        return type(self)(self.tokens.expand(count, -1, -1), added)

    def beside(self, other: Self) -> Self:
        """These texts, and then the others."""
        added = {name: torch.cat([part, other.added[name]]) for name, part in self.added.items()}
        return type(self)(torch.cat([self.tokens, other.tokens]), added)

    def to(self, dtype: torch.dtype) -> Self:
        added = {name: part.to(dtype) for name, part in self.added.items()}
        return type(self)(self.tokens.to(dtype), added)


@dataclass(frozen=True)
class PromptEmbeddings:
    """The prompt's embedding, and the negative prompt's, of one text each."""

    conditional: TextEmbedding
    unconditional: TextEmbedding


class PromptEncoder:
    """The text encoder of Stable Diffusion 1 and 2."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder

    def encode(self, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        tokens, mask = _tokens(self._tokenizer, self._text_encoder, [prompt, negative_prompt])
        hidden = self._text_encoder(tokens, attention_mask=mask)[0]
        return PromptEmbeddings(TextEmbedding(hidden[:1]), TextEmbedding(hidden[1:]))


class TwoPromptEncoders:
    """The text encoders of Stable Diffusion XL (arXiv 2307.01952), side by side.

    Every window is told to be a whole picture of its size.
    """

    def __init__(
        self,
        tokenizers: tuple[Any, Any],
        text_encoders: tuple[Any, Any],
        window_px: int,
        empty_is_zero: bool,
    ) -> None:
        """`empty_is_zero`: an empty negative prompt is no text, rather than an empty one."""
        self._pairs = tuple(zip(tokenizers, text_encoders, strict=True))
        self._window_px = window_px
        self._empty_is_zero = empty_is_zero

    def encode(self, prompt: str, negative_prompt: str) -> PromptEmbeddings:
        hidden, pooled = [], torch.empty(0)
        for tokenizer, text_encoder in self._pairs:
            tokens, _ = _tokens(tokenizer, text_encoder, [prompt, negative_prompt])
            output = text_encoder(tokens, output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
            pooled = output[0]  # of the second one, the projection (2, channels)
        states = torch.cat(hidden, dim=-1)
        if self._empty_is_zero and not negative_prompt:
            states[1:], pooled[1:] = 0, 0
        return PromptEmbeddings(
            *(self._embedding(states[i : i + 1], pooled[i : i + 1]) for i in range(2))
        )

    def _embedding(self, tokens: Tensor, pooled: Tensor) -> TextEmbedding:
        side = self._window_px
        # Its original size, where its crop began, and the size to make; each (height, width).
        sizes = pooled.new_tensor([[side, side, 0, 0, side, side]])
        return TextEmbedding(tokens, {"text_embeds": pooled, "time_ids": sizes})


def _tokens(tokenizer: Any, text_encoder: Any, texts: list[str]) -> tuple[Tensor, Tensor | None]:
    """Token ids (N, tokens), padded and truncated; and which of them count, if not all."""
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


@dataclass(frozen=True)
class TruncatedPrompt:
    """A prompt that is longer than the text encoder reads."""

    field: str  # as in the request: "prompt", "regions.0.prompt"
    tokens: int  # in the whole prompt
    limit: int  # how many of them are read
    text: str  # the rest, which is not read


def find_truncated_prompts(tokenizer: Any, params: ResolvedParams) -> list[TruncatedPrompt]:
    found = []
    for place, prompt in _prompts(params):
        limit = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        ids = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        if len(ids) > limit:
            found.append(
                TruncatedPrompt(place, len(ids), limit, tokenizer.decode(ids[limit:]).strip())
            )
    return found


def _prompts(params: ResolvedParams) -> Iterator[tuple[str, str]]:
    yield "prompt", params.prompt
    yield "negative_prompt", params.negative_prompt
    for number, region in enumerate(params.regions):
        yield f"regions.{number}.prompt", region.prompt
        yield f"regions.{number}.negative_prompt", region.negative_prompt
