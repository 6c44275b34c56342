"""The prompts that quality is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.quality.labels import SUBJECT_OF, prompt_for
from panoweave.core.embedded.training.renderer import TIMES, WEATHERS

# They leave time of day and weather open: the windows of plain MultiDiffusion choose alone.
OPEN: Final = (
    "a landscape",
    "mountains",
    "a lake",
    "a forest",
    "a desert",
    "a meadow",
    "the sea",
    "a snowy landscape",
)

# SyncDiffusion (arXiv 2306.05178), section 5: the six prompts of its tables.
PAPER: Final = (
    "natural landscape in anime style illustration",
    "a photo of a forest with a misty fog",
    "a photo of a mountain range at twilight",
    "cartoon panorama of spring summer beautiful nature",
    "a photo of a snowy mountain peak with skiers",
    "a photo of a city skyline at night",
)
BUILT_IN: Final = ("labelled", "open", "paper")
_LABELLED_COUNT: Final = 24
_LABELLED: Final = (tuple(SUBJECT_OF), TIMES, WEATHERS)


def labelled() -> list[str]:
    """24 prompts that name a biome, a time and a weather; every one of each is in them.

    The first few are already a mixture, so a short run may take the first N.
    """
    prompts = []
    for index in range(_LABELLED_COUNT):
        biome, time, weather = (
            values[(index + index // len(values)) % len(values)] for values in _LABELLED
        )
        prompts.append(prompt_for(biome, time, weather))
    return prompts


def read_prompts(asked: str) -> Sequence[str]:
    """The prompts of a built-in set, or of a file with a prompt on each line."""
    if asked == "paper":
        return PAPER
    if asked == "open":
        return OPEN
    if asked == "labelled":
        return labelled()
    file = Path(asked)
    if not file.is_file():
        raise SystemExit(f"--prompts: {asked} is no file, and none of {', '.join(BUILT_IN)}")
    prompts = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    if not prompts:
        raise SystemExit(f"--prompts: {asked} has no prompt; write one on each line")
    if len(set(prompts)) < len(prompts):
        raise SystemExit(f"--prompts: {asked} has a prompt twice; each may be there once")
    return prompts
