"""What each biome is made of. A function per biome; it returns the season."""

from __future__ import annotations

from collections.abc import Callable

from panoweave.core.embedded.training.renderer import biomes_green, biomes_high
from panoweave.core.embedded.training.renderer.dice import Draft

MAKERS: dict[str, Callable[[Draft], str]] = {
    "mountains": biomes_high.mountains,
    "lake": biomes_high.lake,
    "coast": biomes_high.coast,
    "desert": biomes_high.desert,
    "canyon": biomes_high.canyon,
    "meadow": biomes_green.meadow,
    "forest": biomes_green.forest,
    "autumn": biomes_green.autumn,
    "snow": biomes_green.snow,
    "savanna": biomes_green.savanna,
    "volcano": biomes_high.volcano,
    "terraces": biomes_green.terraces,
}
# Kinds of path to choose from (see `defaults`); mountains choose in their own function.
PATHS: dict[str, tuple[int, ...]] = {
    "canyon": (0, 2, 2),
    "meadow": (0, 1, 2, 3),
    "forest": (0, 1, 2, 3),
    "autumn": (0, 1, 2, 3),
    "snow": (0, 4),
    "savanna": (0, 1, 2, 2),
    "volcano": (0, 1, 2),
    "terraces": (0, 1),
}
