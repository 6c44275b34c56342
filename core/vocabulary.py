"""Words that a checkpoint was trained on, where it says so. Torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

VOCABULARY_FILE: Final = "vocabulary.json"

_WORD: Final = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")  # of any script


def read_vocabulary(checkpoint: Path) -> frozenset[str] | None:
    """The words in a checkpoint's `vocabulary.json`. None: it has no such file and knows any."""
    file = checkpoint / VOCABULARY_FILE
    if not file.is_file():
        return None
    return frozenset(json.loads(file.read_text()))


def unknown_words(prompt: str, vocabulary: Collection[str]) -> list[str]:
    """The prompt's words that are not in the vocabulary, each once, in the prompt's order.

    A hyphenated word is known when all its parts are. Articles and single letters are nobody's
    concern.
    """
    unknown: dict[str, None] = {}
    for word in _WORD.findall(prompt.lower()):
        parts = re.split("[-']", word)
        if len(word) == 1 or word in vocabulary or all(part in vocabulary for part in parts):
            continue
        unknown[word] = None
    return list(unknown)
