"""The small checkpoint that ships with panoweave, and how it was made."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""A Stable Diffusion directory: windows of 128 px, landscapes only."""

__all__ = ["WEIGHTS"]
