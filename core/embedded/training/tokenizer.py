"""A CLIP tokenizer whose merges give each word of the caption grammar one id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

MAX_TOKENS = 32
_END_OF_WORD = "</w>"


def build_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """Byte-level BPE: known words become one token, all else falls apart into letters."""
    letters = list(bytes_to_unicode().values())
    merges = learn_merges(words)
    tokens = [*letters, *(letter + _END_OF_WORD for letter in letters)]
    tokens += [left + right for left, right in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,
        model_max_length=MAX_TOKENS,
    )


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding carried on until every word is a single symbol."""
    spellings = [(*word[:-1], word[-1] + _END_OF_WORD) for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for s in spellings for pair in pairwise(s)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spellings = [_merge(spelling, best) for spelling in spellings]
    return merges


def _merge(spelling: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in spelling:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)
