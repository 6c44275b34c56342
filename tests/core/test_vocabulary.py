"""Words that a checkpoint does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from panoweave.core.vocabulary import read_vocabulary, unknown_words

KNOWN = {"a", "lake", "snow", "capped", "mountains", "sumi-e", "at", "dawn"}


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("A lake at dawn", []),
        ("a Lake, at DAWN!", []),
        ("snow-capped mountains", []),
        ("sumi-e", []),
        ("a spaceship at dawn", ["spaceship"]),
        ("robots, robots and a lake", ["robots", "and"]),
        ("snow-white lake", ["snow-white"]),
        ("", []),
        ("湖 lake", []),
        ("schöner lake, озеро", ["schöner", "озеро"]),
    ],
)
def test_unknown_words(prompt: str, unknown: list[str]) -> None:
    assert unknown_words(prompt, KNOWN) == unknown


def test_a_checkpoint_that_says_nothing_knows_any_word(tmp_path: Path) -> None:
    assert read_vocabulary(tmp_path) is None
    (tmp_path / "vocabulary.json").write_text(json.dumps(["lake", "dawn"]))
    assert read_vocabulary(tmp_path) == frozenset({"lake", "dawn"})
