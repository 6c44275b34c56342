"""Fractal noise, fast: an octave is a small random grid blown up by two matrix products."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

# Mean square of the cubic B-spline weights: dividing by its root gives octaves unit variance.
_SPLINE_POWER = 151 / 315


@lru_cache(maxsize=1024)
def _spline_matrix(length: int, cells: int) -> Array:
    """Cubic B-spline weights of `cells + 3` control points at `length` positions."""
    at = np.linspace(0, cells, length, endpoint=False)
    cell, t = at.astype(int), at % 1
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    matrix = np.zeros((length, cells + 3), np.float32)
    for i in range(4):
        matrix[np.arange(length), cell + i] = weights[i] / 6
    return matrix


def smooth_1d(rng: np.random.Generator, length: int, cell_px: float) -> Array:
    """One octave along a line, unit variance."""
    cells = max(1, round(length / cell_px))
    grid = rng.standard_normal(cells + 3, np.float32)
    return _spline_matrix(length, cells) @ grid / np.float32(_SPLINE_POWER**0.5)


def smooth_2d(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]) -> Array:
    """One octave on a plane, unit variance; `cell` is (rows, columns) in pixels."""
    cells_y, cells_x = (max(1, round(n / c)) for n, c in zip(shape, cell, strict=True))
    grid = rng.standard_normal((cells_y + 3, cells_x + 3), np.float32)
    plane = _spline_matrix(shape[0], cells_y) @ grid @ _spline_matrix(shape[1], cells_x).T
    return plane / np.float32(_SPLINE_POWER)


def fractal_1d(
    rng: np.random.Generator, length: int, cell_px: float, octaves: int, gain: float = 0.5
) -> Array:
    """Octaves of halving size and of `gain` times the strength each."""
    total = smooth_1d(rng, length, cell_px)
    for i in range(1, octaves):
        total = total + gain**i * smooth_1d(rng, length, cell_px / 2**i)
    return total


def fractal_2d(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell: tuple[float, float],
    octaves: int,
    gain: float = 0.5,
) -> Array:
    """Octaves of halving size and of `gain` times the strength each."""
    total = smooth_2d(rng, shape, cell)
    for i in range(1, octaves):
        total += gain**i * smooth_2d(rng, shape, (cell[0] / 2**i, cell[1] / 2**i))
    return total


def ridged_1d(rng: np.random.Generator, length: int, cell_px: float, octaves: int) -> Array:
    """Sharp crests of height up to 1: noise folded at zero, as mountain sky lines have them."""
    total = np.zeros(length, np.float32)
    strength = norm = 1.0
    for i in range(octaves):
        fold = 1 - np.minimum(np.abs(smooth_1d(rng, length, cell_px / 2**i)) * 0.8, 1.3)
        total += strength * fold
        norm += strength
        strength *= 0.45
    return total / np.float32(norm - 1)


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, a smooth ramp between."""
    t: Array = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
