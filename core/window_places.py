"""Where the windows of each step lie: how many there are is what a panorama costs. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from panoweave.core.checkpoint import CheckpointTraits

if TYPE_CHECKING:
    from panoweave.core.params import ResolvedParams  # it asks how many windows there would be

# A Kronecker sequence that fills the unit square evenly: multiples of powers of the inverse of the
# plastic number. A single row of windows needs the first one only.
_SHIFTS: Final = (0.7548776662466927, 0.5698402909980532)

# Borders of the last shifted steps would remain visible as fine lines: fading windows remove them.
_CLOSING_STEPS: Final = 3


@dataclass(frozen=True)
class Places:
    """Windows at all combinations of these tops and lefts, in latents."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    fading: bool = False  # latents near the border of a window have less weight

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def __contains__(self, place: tuple[int, int]) -> bool:
        """Whether a window begins at (top, left)."""
        return place[0] in self.tops and place[1] in self.lefts


def places_at(step: int, params: ResolvedParams, traits: CheckpointTraits) -> Places:
    """The windows of a step (from 0). They depend on nothing else, so any step can be redone.

    Shifted windows (SpotDiffusion, arXiv 2407.15507) do not overlap within a step; their borders
    move from step to step, so that none becomes visible. Unlike in the paper the shifts are not
    random but spread evenly: no place is left out for long. The last steps have windows that fade
    into one another, which leaves no border at all.
    """
    window, scale = traits.window_latents, traits.px_per_latent
    height, width, ring = params.height // scale, params.width // scale, params.loop
    if params.windows == "overlapping":
        return overlapping(height, width, ring, window, params.stride // scale)
    if step >= params.steps - _CLOSING_STEPS:
        half = max(1, window // 2)
        return spread(height, width, ring, window, half, 0, 0, fading=True)
    right, down = (int((step + 1) * shift % 1 * window) for shift in _SHIFTS)
    return spread(height, width, ring, window, window, down, right)


def anchor_place(params: ResolvedParams, traits: CheckpointTraits) -> tuple[int, int]:
    """(top, left) of the window that the others follow, the same at every step.

    It is one of the overlapping windows, so a step with shifted ones seldom has it.
    """
    reach = 0 if params.loop else traits.window_px - params.stride
    row, column = divmod(params.sync.anchor, (params.width - reach) // params.stride)
    stride = params.stride // traits.px_per_latent
    return row * stride, column * stride


def overlapping(height: int, width: int, ring: bool, window: int, stride: int) -> Places:
    """Windows at every stride. Raises ValueError where they do not reach the edge exactly."""
    if not 0 < stride <= window:
        raise ValueError(f"stride {stride} does not fit windows of {window} latents")
    for name, side, closed in (("height", height, False), ("width", width, ring)):
        if side < window or (side - (0 if closed else window)) % stride:
            raise ValueError(
                f"{name} {side} does not hold windows of {window} every {stride} latents"
            )
    end = width if ring else width - window + 1
    return Places(tuple(range(0, height - window + 1, stride)), tuple(range(0, end, stride)))


def spread(
    height: int,
    width: int,
    ring: bool,
    window: int,
    apart: int,
    down: int,
    right: int,
    *,
    fading: bool = False,
) -> Places:
    """Windows at this distance, moved by (down, right)."""
    if min(height, width) < window:
        raise ValueError(f"{height} x {width} latents hold no window of {window}")
    tops = _row(height, window, apart, down)
    if ring:
        starts = range(right, right + width, apart)
        return Places(tops, tuple(sorted(start % width for start in starts)), fading)
    return Places(tops, _row(width, window, apart, right), fading)


def _row(side: int, window: int, apart: int, shift: int) -> tuple[int, ...]:
    """Where windows begin along a side; at its ends they are moved inside."""
    starts = range(shift % apart - apart, side, apart)
    return tuple(sorted({min(max(place, 0), side - window) for place in starts}))
