"""The windows of a panorama and their merge: MultiDiffusion (arXiv 2302.08113), Eq. 5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from core.params import CheckpointTraits, ResolvedParams


@dataclass(frozen=True)
class WindowGrid:
    """Square windows at regular steps that cover every latent of a canvas exactly.

    Lengths are in latents. Windows are numbered row by row. A grid whose windows leave a rest at
    the right or bottom edge cannot be made, so no latent ever goes uncovered.
    """

    height: int
    width: int
    window: int
    stride: int

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.window:
            raise ValueError(f"stride {self.stride} does not fit windows of {self.window} latents")
        for name, side in (("height", self.height), ("width", self.width)):
            if side < self.window or (side - self.window) % self.stride:
                raise ValueError(
                    f"{name} {side} is not {self.window} plus a multiple of {self.stride} latents"
                )

    @classmethod
    def of(cls, params: ResolvedParams, traits: CheckpointTraits) -> WindowGrid:
        scale = traits.px_per_latent
        return cls(
            params.height // scale,
            params.width // scale,
            traits.window_latents,
            params.stride // scale,
        )

    @property
    def rows(self) -> int:
        return (self.height - self.window) // self.stride + 1

    @property
    def columns(self) -> int:
        return (self.width - self.window) // self.stride + 1

    def __len__(self) -> int:
        return self.rows * self.columns

    def corners(self) -> Iterator[tuple[int, int]]:
        """(top, left) of each window, in latents."""
        for row in range(self.rows):
            for column in range(self.columns):
                yield row * self.stride, column * self.stride

    def read(self, latents: Tensor) -> Tensor:
        """Cut a canvas (1, C, H, W) into its windows (N, C, S, S). A copy, not a view."""
        size = self.window
        return torch.cat(
            [latents[:, :, top : top + size, left : left + size] for top, left in self.corners()]
        )

    def merge(self, windows: Tensor) -> Tensor:
        """Average the windows (N, C, S, S) into a canvas (1, C, H, W), latent by latent."""
        shape = (1, windows.shape[1], self.height, self.width)
        total, count = windows.new_zeros(shape), windows.new_zeros(shape)
        size = self.window
        for window, (top, left) in zip(windows, self.corners(), strict=True):
            total[0, :, top : top + size, left : left + size] += window
            count[0, :, top : top + size, left : left + size] += 1
        return total / count
