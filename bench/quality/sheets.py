"""Panoramas below one another, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from PIL import Image

from bench.quality.runs import Stored
from bench.strips import stack

_PROMPTS: Final = 6


def draw_sheet(pictures: Mapping[tuple[str, int], Mapping[str, Stored]]) -> Image.Image:
    """Every row's panorama of the first few prompts."""
    return stack(
        [
            (f"{prompt}, seed {seed}: {name}", stored.open())
            for (prompt, seed), made in list(pictures.items())[:_PROMPTS]
            for name, stored in made.items()
        ]
    )
