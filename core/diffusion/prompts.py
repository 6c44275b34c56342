"""What a text encoder does not read of a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.params import ResolvedParams


@dataclass(frozen=True)
class Unread:
    """The end of a prompt that is longer than the text encoder reads."""

    field: str  # as in the request: "prompt", "regions.0.prompt"
    tokens: int  # the whole prompt's
    limit: int  # of tokens that are read
    text: str  # what was not read


def find_unread(tokenizer: Any, params: ResolvedParams) -> list[Unread]:
    found = []
    for field, prompt in _prompts(params):
        limit = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        ids = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        if len(ids) > limit:
            found.append(Unread(field, len(ids), limit, tokenizer.decode(ids[limit:]).strip()))
    return found


def _prompts(params: ResolvedParams) -> Iterator[tuple[str, str]]:
    yield "prompt", params.prompt
    yield "negative_prompt", params.negative_prompt
    for number, region in enumerate(params.regions):
        yield f"regions.{number}.prompt", region.prompt
        yield f"regions.{number}.negative_prompt", region.negative_prompt
