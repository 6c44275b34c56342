"""Code blocks of docs/how-to, for the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

_HOW_TO = Path(__file__).parents[2] / "docs/how-to"


def documented(language: str, containing: str, page: str = "clients.md") -> str:
    """The one block in this language that contains this text."""
    text = (_HOW_TO / page).read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    (block,) = [block for block in blocks if containing in block]
    return str(block)
