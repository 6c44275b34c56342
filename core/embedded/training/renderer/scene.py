"""A scene: what is drawn, as plain numbers, and what a caption may say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BIOMES = (
    "mountains",
    "lake",
    "coast",
    "desert",
    "canyon",
    "meadow",
    "forest",
    "autumn",
    "snow",
    "savanna",
    "volcano",
    "terraces",
)
TIMES = ("dawn", "morning", "noon", "sunset", "twilight", "night")
WEATHERS = ("clear", "cloudy", "foggy", "stormy")

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything that decides a panorama. Equal scenes give equal pictures."""

    seed: int
    biome: str
    time: str
    weather: str
    season: str
    clouds: str
    extras: tuple[str, ...]
    numbers: Mapping[str, float]  # metres, radians, or shares: see `defaults`
    colours: Mapping[str, Colour]  # linear RGB reflectance or gain


@dataclass(frozen=True)
class Batch:
    """Scenes side by side, on a device."""

    scenes: tuple[Scene, ...]
    numbers: dict[str, Tensor]  # (B, 1, 1) each
    colours: dict[str, Tensor]  # (B, 3, 1, 1) each
    device: torch.device

    def __len__(self) -> int:
        return len(self.scenes)

    def has(self, *names: str) -> bool:
        """Whether one of the numbers is above 0 in any scene; asks no device."""
        return any(scene.numbers[name] > 0 for scene in self.scenes for name in names)


def as_batch(scenes: Sequence[Scene], device: torch.device) -> Batch:
    """The scenes' numbers and colours as tensors."""
    numbers = {
        name: torch.tensor([s.numbers[name] for s in scenes], dtype=torch.float32).view(-1, 1, 1)
        for name in scenes[0].numbers
    }
    colours = {
        name: torch.tensor([s.colours[name] for s in scenes], dtype=torch.float32).view(-1, 3, 1, 1)
        for name in scenes[0].colours
    }
    return Batch(
        tuple(scenes),
        {name: t.to(device) for name, t in numbers.items()},
        {name: t.to(device) for name, t in colours.items()},
        device,
    )
