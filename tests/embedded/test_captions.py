"""The caption grammar and the tokenizer made for it."""

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPTokenizer

from panoweave.core.embedded.captions import EMPTY, KEEP_TIME, caption, vocabulary
from panoweave.core.embedded.style import BIOMES, TIMES, WEATHERS, Subject
from panoweave.core.embedded.tokenizer import MAX_TOKENS, build_tokenizer, learn_merges

SUBJECT = Subject("mountains", "night", "foggy")
_NIGHT_WORDS = {"night", "moonlight", "stars"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(vocabulary()).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_every_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word
    assert len({tokenizer(word).input_ids[1] for word in vocabulary()}) == len(vocabulary())


def test_captions_hold_known_words_and_noise_only(tokenizer: CLIPTokenizer) -> None:
    rng = np.random.default_rng(0)
    known = set(vocabulary())
    unknown = words = 0
    for biome, time, weather in product(BIOMES, TIMES, WEATHERS):
        for _ in range(10):
            text = caption(rng, Subject(biome, time, weather)).replace(",", "")
            assert len(tokenizer(text).input_ids) <= MAX_TOKENS
            words += len(text.split())
            unknown += sum(word not in known for word in text.split())
    assert 0 < unknown / words < 0.03


def test_attributes_are_dropped_at_the_stated_rates() -> None:
    rng = np.random.default_rng(1)
    texts = [caption(rng, SUBJECT) for _ in range(4_000)]
    empty = sum(not text for text in texts) / len(texts)
    assert empty == pytest.approx(EMPTY, abs=0.02)
    about_mountains = [text.replace(",", "").split() for text in texts if "mountain" in text]
    timed = sum(bool(_NIGHT_WORDS & set(text)) for text in about_mountains)
    assert timed / len(about_mountains) == pytest.approx(KEEP_TIME, abs=0.05)


def test_one_subject_has_many_paraphrases() -> None:
    rng = np.random.default_rng(2)
    assert len(Counter(caption(rng, SUBJECT) for _ in range(2_000))) > 800


def test_captions_repeat_by_seed() -> None:
    first, again = (np.random.default_rng(3) for _ in range(2))
    assert [caption(first, SUBJECT) for _ in range(50)] == [
        caption(again, SUBJECT) for _ in range(50)
    ]


def test_merges_do_not_depend_on_the_order_of_words() -> None:
    words = ["lake", "like", "make"]
    assert learn_merges(words) == learn_merges(reversed(words))


def test_long_and_strange_prompts_are_cut_to_length(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenizer("Ωμέγα ☃ zyzzyva " * 40, truncation=True).input_ids
    assert len(tokens) == MAX_TOKENS
    assert tokens[-1] == tokenizer.eos_token_id
