"""Plants as heaps of small shaded ellipses, from which sprites are painted.

A plant stands on (0, 0) and is about 1 high; x runs right, y up, depth towards the viewer.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Heap:
    """Collects ellipses. Each is a row of 12 numbers: see `add`."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.rows: list[tuple[float, ...]] = []

    def add(
        self,
        place: ArrayLike,
        radii: tuple[float, float],
        normal: ArrayLike,
        occlusion: float,
        tone: float,
        bark: float = 0.0,
        flower: float = 0.0,
    ) -> None:
        """`place` is (x, y, depth); `occlusion`, `tone`, `bark`, `flower` are shares."""
        x, y, depth = np.asarray(place, float)
        n = np.asarray(normal, float)
        n = n / max(float(np.linalg.norm(n)), 1e-6)
        self.rows.append((x, y, depth, *radii, *n, occlusion, tone, bark, flower))

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        thick: tuple[float, float],
        depth: float = -0.05,
    ) -> None:
        """A stem or branch that tapers from `thick[0]` to `thick[1]`."""
        (x0, y0), (x1, y1) = start, end
        for t in np.linspace(0, 1, int(max(abs(x1 - x0), abs(y1 - y0)) * 130) + 2):
            w = thick[0] + (thick[1] - thick[0]) * t
            place = (x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, depth)
            self.add(place, (w, w * 1.3), (0.0, 0.2, 1), 0.75, self.rng.random(), 1.0)

    def direction(self) -> Array:
        """A random direction."""
        v = self.rng.normal(size=3)
        unit: Array = v / np.linalg.norm(v)
        return unit

    def array(self) -> Array:
        """(N, 12)."""
        return np.array(self.rows)


def turn(angle: float) -> tuple[float, float]:
    """Cosine and sine."""
    return math.cos(angle), math.sin(angle)
