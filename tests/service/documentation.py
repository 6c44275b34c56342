"""Code blocks of docs/how-to/clients.md, for the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

_CLIENTS = Path(__file__).parents[2] / "docs/how-to/clients.md"


def documented(language: str, containing: str) -> str:
    """The one block in this language that contains this text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", _CLIENTS.read_text(), re.M | re.S)
    (block,) = [block for block in blocks if containing in block]
    return str(block)
