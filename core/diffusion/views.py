"""The windows of a panorama and their merge: MultiDiffusion (arXiv 2302.08113), Eq. 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.params import ResolvedParams

Corner = tuple[int, int]  # (top, left), in latents

# Steps of the sequence whose fractional parts fill a square most evenly (its Kronecker sequence):
# powers of the inverse of the plastic number. A row of windows needs the first one alone.
_SHIFTS: Final = (0.7548776662466927, 0.5698402909980532)

# The borders of the last shifted steps would show as fine lines: fading windows close them.
_CLOSING_STEPS: Final = 3


@dataclass(frozen=True)
class Canvas:
    """The latents of a panorama: a sheet, or a ring whose right edge goes on at the left one."""

    height: int
    width: int
    ring: bool = False

    def crop(self, latents: Tensor, corner: Corner, size: int) -> Tensor:
        """The window (1, C, size, size) of a canvas (1, C, H, W) at a corner."""
        top, left = corner
        rows = latents[:, :, top : top + size]
        if left + size <= self.width:
            return rows[..., left : left + size]
        return torch.cat([rows[..., left:], rows[..., : left + size - self.width]], dim=-1)


@dataclass(frozen=True)
class WindowGrid:
    """Square windows that together cover every latent of a canvas.

    Lengths are in latents. Windows are numbered row by row. Every way to make a grid covers the
    canvas by construction. On a ring, whose right edge goes on at the left one, windows reach over
    the edge.
    """

    canvas: Canvas
    window: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    fading: bool = False  # a window counts less towards its borders

    @classmethod
    def overlapping(cls, canvas: Canvas, window: int, stride: int) -> Self:
        """Windows at regular steps; refused where they leave a rest at an edge."""
        if not 0 < stride <= window:
            raise ValueError(f"stride {stride} does not fit windows of {window} latents")
        for name, side, ring in (
            ("height", canvas.height, False),
            ("width", canvas.width, canvas.ring),
        ):
            if side < window or (side - (0 if ring else window)) % stride:
                raise ValueError(
                    f"{name} {side} does not hold windows of {window} every {stride} latents"
                )
        tops = tuple(range(0, canvas.height - window + 1, stride))
        end = canvas.width if canvas.ring else canvas.width - window + 1
        return cls(canvas, window, tops, tuple(range(0, end, stride)))

    @classmethod
    def shifted(cls, canvas: Canvas, window: int, down: int, right: int) -> Self:
        """Windows side by side, all moved by (down, right); those at the edges pushed inside."""
        return cls(canvas, window, *_places(canvas, window, window, down, right))

    @classmethod
    def crossfading(cls, canvas: Canvas, window: int) -> Self:
        """Windows every half window that pass into one another: the fewest without a border."""
        half = max(1, window // 2)
        return cls(canvas, window, *_places(canvas, window, half, 0, 0), fading=True)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @property
    def corners(self) -> list[Corner]:
        return [(top, left) for top in self.tops for left in self.lefts]

    def read(self, latents: Tensor) -> Tensor:
        """Cut a canvas (1, C, H, W) into its windows (N, C, S, S). A copy, not a view."""
        return torch.cat([self.canvas.crop(latents, at, self.window) for at in self.corners])

    def merge(self, windows: Tensor) -> Tensor:
        """Average the windows (N, C, S, S) into a canvas (1, C, H, W), latent by latent."""
        height, width = self.canvas.height, self.canvas.width
        beyond = self.window if self.canvas.ring else 0  # room for what reaches over the edge
        shape = (1, windows.shape[1], height, width + beyond)
        total, count = windows.new_zeros(shape), windows.new_zeros(shape)
        weight = self._weight().to(windows)
        for window, (top, left) in zip(windows, self.corners, strict=True):
            place = ..., slice(top, top + self.window), slice(left, left + self.window)
            total[place] += window * weight
            count[place] += weight
        for over in (total, count):
            over[..., :beyond] += over[..., width:]
        return (total / count)[..., :width]

    def _weight(self) -> Tensor:
        """How much each latent (S, S) of a window counts."""
        if not self.fading:
            return torch.ones(self.window, self.window)
        place = torch.arange(self.window) + 0.5
        to_border = torch.minimum(place, self.window - place)
        return to_border[:, None] * to_border


def _places(
    canvas: Canvas, window: int, apart: int, down: int, right: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where windows so far apart begin, moved by (down, right)."""
    if min(canvas.height, canvas.width) < window:
        raise ValueError(f"{canvas.height} x {canvas.width} latents hold no window of {window}")
    tops = _row(canvas.height, window, apart, down)
    if canvas.ring:
        starts = range(right, right + canvas.width, apart)
        return tops, tuple(sorted(start % canvas.width for start in starts))
    return tops, _row(canvas.width, window, apart, right)


def _row(side: int, window: int, apart: int, shift: int) -> tuple[int, ...]:
    """Where windows begin along a side, those at its ends pushed inside."""
    spread = range(shift % apart - apart, side, apart)
    return tuple(sorted({min(max(place, 0), side - window) for place in spread}))


@dataclass(frozen=True)
class Anchor:
    """The window that the others follow."""

    window: Tensor  # (1, C, S, S)
    corner: Corner
    index: int | None  # its number where it is one of the step's windows


class WindowPlan:
    """Through which windows a panorama is seen at each step."""

    def __init__(self, params: ResolvedParams, traits: CheckpointTraits) -> None:
        scale = traits.px_per_latent
        self._canvas = Canvas(params.height // scale, params.width // scale, params.loop)
        self._window = traits.window_latents
        self._steps, self._shifted = params.steps, params.windows == "shifted"
        self._overlapping = WindowGrid.overlapping(
            self._canvas, self._window, params.stride // scale
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
        if step >= self._steps - _CLOSING_STEPS:
            return WindowGrid.crossfading(self._canvas, self._window)
        right, down = (int((step + 1) * shift % 1 * self._window) for shift in _SHIFTS)
        return WindowGrid.shifted(self._canvas, self._window, down, right)

    def anchor(self, latents: Tensor, grid: WindowGrid) -> Anchor:
        """The anchor's window of the canvas: in the same place at every step."""
        corners = grid.corners
        index = corners.index(self._anchor) if self._anchor in corners else None
        window = self._canvas.crop(latents, self._anchor, self._window)
        return Anchor(window, self._anchor, index)
