"""What an operator chooses for a worker's machine, by name. Torch-free.

The settings and `core.diffusion` both use these names. None of them belongs to a request.
"""

from __future__ import annotations

from typing import Final, Literal

PerceptualName = Literal[
    "stlpips-alex", "stlpips-vgg", "lpips-alex", "lpips-vgg", "lpips-squeeze", "style-vgg"
]
DtypeName = Literal["auto", "float32", "bfloat16", "float16", "float8"]

# How many windows go through the networks at once. On one kind of processor it changes memory and
# speed, not the picture.
DEFAULT_WINDOW_BATCH: Final = 8

# Of the LoRAs that a worker keeps in memory.
DEFAULT_LORAS_MAX_BYTES: Final = 2**30
