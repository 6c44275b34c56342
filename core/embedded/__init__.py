"""The small checkpoint that ships with panoweave, and how it was made."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""A Stable Diffusion directory: windows of 256 px, landscapes only."""


def checkpoint_of(model: str) -> str:
    """What `panoweave.core.diffusion` loads for a model's name: `embedded` is this directory."""
    return str(WEIGHTS) if model == "embedded" else model
