"""The windows of a panorama and their merge: MultiDiffusion (arXiv 2302.08113), Eq. 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.params import ResolvedParams
from panoweave.core.window_places import Places, anchor_place, overlapping, places_at, spread


class View(NamedTuple):
    """Where a window lies on the canvas, in latents. A window is the square of latents there."""

    top: int
    left: int


@dataclass(frozen=True)
class Canvas:
    """The area of a panorama; with `ring`, its right edge continues at the left one."""

    height: int
    width: int
    ring: bool = False

    def read(self, latents: Tensor, views: Sequence[View], size: int) -> Tensor:
        """The windows (N, C, size, size) of a canvas (1, C, H, W): a copy of its latents."""
        return torch.cat([self.crop(latents, view, size) for view in views])

    def crop(self, latents: Tensor, view: View, size: int) -> Tensor:
        """The window (1, C, size, size) of a canvas (1, C, H, W) at one view."""
        top, left = view
        rows = latents[:, :, top : top + size]
        if left + size <= self.width:
            return rows[..., left : left + size]
        return torch.cat([rows[..., left:], rows[..., : left + size - self.width]], dim=-1)


@dataclass(frozen=True)
class WindowGrid:
    """Square windows that together cover every latent of a canvas.

    Lengths are in latents. Windows are numbered row by row. Each of the constructors below covers
    the canvas by construction. On a ring, windows reach over the edge.
    """

    canvas: Canvas
    window: int
    places: Places

    @classmethod
    def overlapping(cls, canvas: Canvas, window: int, stride: int) -> Self:
        """Windows at every stride. Raises ValueError where they do not reach the edge exactly."""
        places = overlapping(canvas.height, canvas.width, canvas.ring, window, stride)
        return cls(canvas, window, places)

    @classmethod
    def shifted(cls, canvas: Canvas, window: int, down: int, right: int) -> Self:
        """Windows side by side, all moved by (down, right); at the edges they are moved inside."""
        return cls(canvas, window, _spread(canvas, window, window, down, right))

    @classmethod
    def crossfading(cls, canvas: Canvas, window: int) -> Self:
        """Windows every half window that fade into one another, so that no border is visible."""
        half = max(1, window // 2)
        return cls(canvas, window, _spread(canvas, window, half, 0, 0, fading=True))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def views(self) -> list[View]:
        return [View(top, left) for top in self.places.tops for left in self.places.lefts]

    def read(self, latents: Tensor) -> Tensor:
        """The windows (N, C, S, S) of a canvas (1, C, H, W): a copy of its latents."""
        return self.canvas.read(latents, self.views, self.window)

    def merge(self, windows: Tensor) -> Tensor:
        """Average the windows (N, C, S, S) into a canvas (1, C, H, W), latent by latent."""
        height, width = self.canvas.height, self.canvas.width
        beyond = self.window if self.canvas.ring else 0  # room for windows that reach over the edge
        shape = (1, windows.shape[1], height, width + beyond)
        total, count = windows.new_zeros(shape), windows.new_zeros(shape)
        weight = self._weight().to(windows)
        for window, (top, left) in zip(windows, self.views, strict=True):
            place = ..., slice(top, top + self.window), slice(left, left + self.window)
            total[place] += window * weight
            count[place] += weight
        for over in (total, count):
            over[..., :beyond] += over[..., width:]
        return (total / count)[..., :width]

    def _weight(self) -> Tensor:
        """The weight of each latent (S, S) of a window."""
        if not self.places.fading:
            return torch.ones(self.window, self.window)
        place = torch.arange(self.window) + 0.5
        to_border = torch.minimum(place, self.window - place)
        return to_border[:, None] * to_border


def _spread(
    canvas: Canvas, window: int, apart: int, down: int, right: int, *, fading: bool = False
) -> Places:
    size = canvas.height, canvas.width, canvas.ring
    return spread(*size, window, apart, down, right, fading=fading)


class WindowPlan:
    """The windows of each step, and the anchor: the view that all windows are pulled towards."""

    def __init__(self, params: ResolvedParams, traits: CheckpointTraits) -> None:
        scale = traits.px_per_latent
        self.canvas = Canvas(params.height // scale, params.width // scale, params.loop)
        self.window = traits.window_latents
        self._params, self._traits = params, traits

    @cached_property
    def anchor(self) -> View:
        """The same at every step."""
        return View(*anchor_place(self._params, self._traits))

    def grid(self, step: int) -> WindowGrid:
        """The windows of a step (from 0): see `window_places.places_at`."""
        places = places_at(step, self._params, self._traits)
        return WindowGrid(self.canvas, self.window, places)
