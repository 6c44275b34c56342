"""The windows of a panorama and their merge: MultiDiffusion (arXiv 2302.08113), Eq. 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from core.params import CheckpointTraits, ResolvedParams

Corner = tuple[int, int]  # (top, left), in latents

# Steps of the sequence whose fractional parts fill a square most evenly (its Kronecker sequence):
# powers of the inverse of the plastic number. A row of windows needs the first one alone.
_SHIFTS: Final = (0.7548776662466927, 0.5698402909980532)

# The borders of the last shifted steps would show as fine lines: fading windows close them.
_CLOSING_STEPS: Final = 3


@dataclass(frozen=True)
class WindowGrid:
    """Square windows that together cover every latent of a canvas.

    Lengths are in latents. Windows are numbered row by row. Both ways to make a grid cover the
    canvas by construction.
    """

    height: int
    width: int
    window: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    fading: bool = False  # a window counts less towards its borders

    @classmethod
    def overlapping(cls, height: int, width: int, window: int, stride: int) -> Self:
        """Windows at regular steps; refused where they leave a rest at an edge."""
        if not 0 < stride <= window:
            raise ValueError(f"stride {stride} does not fit windows of {window} latents")
        for name, side in (("height", height), ("width", width)):
            if side < window or (side - window) % stride:
                raise ValueError(
                    f"{name} {side} is not {window} plus a multiple of {stride} latents"
                )
        tops, lefts = (tuple(range(0, side - window + 1, stride)) for side in (height, width))
        return cls(height, width, window, tops, lefts)

    @classmethod
    def shifted(cls, height: int, width: int, window: int, down: int, right: int) -> Self:
        """Windows side by side, all moved by (down, right); those at the edges pushed inside."""
        tops, lefts = _places(height, window, window, down), _places(width, window, window, right)
        return cls(height, width, window, tops, lefts)

    @classmethod
    def crossfading(cls, height: int, width: int, window: int) -> Self:
        """Windows every half window that pass into one another: the fewest without a border."""
        half = max(1, window // 2)
        tops, lefts = (_places(side, window, half, 0) for side in (height, width))
        return cls(height, width, window, tops, lefts, fading=True)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @property
    def corners(self) -> list[Corner]:
        return [(top, left) for top in self.tops for left in self.lefts]

    def read(self, latents: Tensor) -> Tensor:
        """Cut a canvas (1, C, H, W) into its windows (N, C, S, S). A copy, not a view."""
        return torch.cat([crop(latents, corner, self.window) for corner in self.corners])

    def merge(self, windows: Tensor) -> Tensor:
        """Average the windows (N, C, S, S) into a canvas (1, C, H, W), latent by latent."""
        shape = (1, windows.shape[1], self.height, self.width)
        total, count = windows.new_zeros(shape), windows.new_zeros(shape)
        weight = self._weight().to(windows)
        for window, corner in zip(windows, self.corners, strict=True):
            crop(total, corner, self.window).add_(window * weight)
            crop(count, corner, self.window).add_(weight)
        return total / count

    def _weight(self) -> Tensor:
        """How much each latent (S, S) of a window counts."""
        if not self.fading:
            return torch.ones(self.window, self.window)
        place = torch.arange(self.window) + 0.5
        to_border = torch.minimum(place, self.window - place)
        return to_border[:, None] * to_border


def _places(side: int, window: int, apart: int, shift: int) -> tuple[int, ...]:
    """Where windows begin that lie so far apart, moved by `shift`, those at the ends pushed in."""
    if side < window:
        raise ValueError(f"{side} latents hold no window of {window}")
    spread = range(shift % apart - apart, side, apart)
    return tuple(sorted({min(max(place, 0), side - window) for place in spread}))


def crop(canvas: Tensor, corner: Corner, size: int) -> Tensor:
    """The window (1, C, size, size) of a canvas (1, C, H, W) at a corner. A view."""
    top, left = corner
    return canvas[:, :, top : top + size, left : left + size]


@dataclass(frozen=True)
class Anchor:
    """The window that the others follow."""

    window: Tensor  # (1, C, S, S)
    index: int | None  # its number where it is one of the step's windows


class WindowPlan:
    """Through which windows a panorama is seen at each step."""

    def __init__(self, params: ResolvedParams, traits: CheckpointTraits) -> None:
        scale = traits.px_per_latent
        self._height, self._width = params.height // scale, params.width // scale
        self._window = traits.window_latents
        self._steps, self._shifted = params.steps, params.windows == "shifted"
        self._overlapping = WindowGrid.overlapping(
            self._height, self._width, self._window, params.stride // scale
        )
        self._anchor = self._overlapping.corners[params.sync.anchor]

    def grid(self, step: int) -> WindowGrid:
        """The step's windows (from 0). They depend on nothing else, so any step can be redone.

        Shifted windows (SpotDiffusion, arXiv 2407.15507) do not overlap within a step; from step
        to step their borders move, so that no border stays. Where they move to is not drawn at
        random, as there, but spread evenly: no place is left out for long. The last steps have
        windows that fade into one another, which leave no border at all.
        """
        if not self._shifted:
            return self._overlapping
        size = self._height, self._width, self._window
        if step >= self._steps - _CLOSING_STEPS:
            return WindowGrid.crossfading(*size)
        right, down = (int((step + 1) * shift % 1 * self._window) for shift in _SHIFTS)
        return WindowGrid.shifted(*size, down, right)

    def anchor(self, latents: Tensor, grid: WindowGrid) -> Anchor:
        """The anchor's window of the canvas: in the same place at every step."""
        corners = grid.corners
        index = corners.index(self._anchor) if self._anchor in corners else None
        return Anchor(crop(latents, self._anchor, self._window), index)
