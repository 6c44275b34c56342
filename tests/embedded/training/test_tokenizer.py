"""The tokenizer that is made for the captions' words."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from panoweave.core.embedded.training.captions import vocabulary
from panoweave.core.embedded.training.tokenizer import MAX_TOKENS, build_tokenizer, learn_merges


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(vocabulary()).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_every_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    words = [word for word in vocabulary() if word.isalpha()]  # others are split before merging
    tokens = [tokenizer(word).input_ids for word in words]
    assert {len(ids) for ids in tokens} == {3}
    assert len({ids[1] for ids in tokens}) == len(words) > 400


def test_merges_do_not_depend_on_the_order_of_words() -> None:
    words = ["lake", "like", "make"]
    assert learn_merges(words) == learn_merges(reversed(words))


def test_long_and_strange_prompts_are_cut_to_length(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenizer("Ωμέγα ☃ zyzzyva " * 40, truncation=True).input_ids
    assert len(tokens) == MAX_TOKENS
    assert tokens[-1] == tokenizer.eos_token_id
