"""Prompts to try: what the embedded model paints well."""

from typing import Final

EXAMPLES: Final = (
    "a mountain lake at dawn",
    "sand dunes at sunset",
    "an autumn forest in the mist",
    "rolling green hills under clouds",
    "a calm sea at twilight",
    "snowy mountain peaks under the stars",
)
