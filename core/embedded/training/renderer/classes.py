"""What a pixel can be, for captions and measurements."""

from __future__ import annotations

CLASSES = (
    "sky",
    "cloud",
    "water",
    "trees",
    "snow",
    "rock",
    "sand",
    "ground",
    "flowers",
    "stones",
    "path",
    "pool",
    "bushes",
)
(
    SKY,
    CLOUD,
    WATER,
    TREES,
    SNOW,
    ROCK,
    SAND,
    GROUND,
    FLOWERS,
    STONES,
    PATH,
    POOL,
    BUSHES,
) = range(len(CLASSES))
