"""Embeddings of prompts, and what the model cannot read or does not know of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from panoweave.core.params import ResolvedParams
from panoweave.core.vocabulary import unknown_words


@dataclass(frozen=True)
class TextEmbedding:
    """The embeddings of N texts, as a network takes them."""

    tokens: Tensor  # (N, tokens, channels)
    # In SDXL's format also text_embeds (N, channels) and time_ids (N, 6).
    added: Mapping[str, Tensor] = field(default_factory=dict)

    def repeated(self, count: int) -> Self:
        """One text, `count` times."""
        added = {name: part.expand(count, -1) for name, part in self.added.items()}
        return type(self)(self.tokens.expand(count, -1, -1), added)

    def beside(self, other: Self) -> Self:
        """These texts, followed by the others."""
        added = {name: torch.cat([part, other.added[name]]) for name, part in self.added.items()}
        return type(self)(torch.cat([self.tokens, other.tokens]), added)

    def to(self, dtype: torch.dtype) -> Self:
        added = {name: part.to(dtype) for name, part in self.added.items()}
        return type(self)(self.tokens.to(dtype), added)

    def as_arguments(self) -> dict[str, Any]:
        """The keyword arguments of a UNet or a ControlNet of diffusers."""
        return {"encoder_hidden_states": self.tokens, "added_cond_kwargs": self.added}


@dataclass(frozen=True)
class PromptEmbeddings:
    """The embeddings of a prompt and of its negative prompt, one text each."""

    conditional: TextEmbedding
    unconditional: TextEmbedding | None  # None: the family reads no negative prompt


@dataclass(frozen=True)
class TruncatedPrompt:
    """A prompt that is longer than the text encoder reads."""

    field: str  # as in the request: "prompt", "regions.0.prompt"
    tokens: int  # in the whole prompt
    limit: int  # how many of them are read
    text: str  # the rest, which is not read


@dataclass(frozen=True)
class PromptReader:
    """What reads most of a prompt: a tokenizer, and how many of the prompt's own tokens."""

    tokenizer: Any
    limit: int

    @classmethod
    def of(cls, tokenizer: Any, max_tokens: int | None = None) -> Self:
        """`max_tokens`, those that mark begin and end included; None: the tokenizer's own."""
        most = tokenizer.model_max_length if max_tokens is None else max_tokens
        return cls(tokenizer, most - tokenizer.num_special_tokens_to_add())


def find_truncated_prompts(reader: PromptReader, params: ResolvedParams) -> list[TruncatedPrompt]:
    """The prompts of a request that the text encoder reads only in part."""
    found = []
    tokenizer, limit = reader.tokenizer, reader.limit
    for name, prompt in _prompts(params):
        ids = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        if len(ids) > limit:
            found.append(
                TruncatedPrompt(name, len(ids), limit, tokenizer.decode(ids[limit:]).strip())
            )
    return found


@dataclass(frozen=True)
class UnknownWords:
    """Words of a prompt that the checkpoint was not trained on."""

    field: str  # as in the request: "prompt", "regions.0.prompt"
    words: list[str]


def find_unknown_words(
    vocabulary: Collection[str] | None, params: ResolvedParams
) -> list[UnknownWords]:
    """For each prompt with such words. `vocabulary` None: the checkpoint may know any word."""
    if vocabulary is None:
        return []
    found = [UnknownWords(name, unknown_words(text, vocabulary)) for name, text in _prompts(params)]
    return [one for one in found if one.words]


def _prompts(params: ResolvedParams) -> Iterator[tuple[str, str]]:
    yield "prompt", params.prompt
    yield "negative_prompt", params.negative_prompt
    for number, region in enumerate(params.regions):
        yield f"regions.{number}.prompt", region.prompt
        yield f"regions.{number}.negative_prompt", region.negative_prompt
