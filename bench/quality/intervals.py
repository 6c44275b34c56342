"""Confidence intervals by the bootstrap over panoramas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES: Final = 1_000
_SEED: Final = 0
_TAIL: Final = 0.025  # on either side: 95 %


@dataclass(frozen=True)
class Figure:
    """A value, and the same statistic of each resample."""

    value: float
    resampled: Array  # (RESAMPLES,); NaN where a resample has nothing to count

    @property
    def low(self) -> float:
        return float(np.nanquantile(self.resampled, _TAIL))

    @property
    def high(self) -> float:
        return float(np.nanquantile(self.resampled, 1 - _TAIL))

    def minus(self, other: Figure) -> Figure:
        """Resample by resample: rows that share prompts and seeds share their draws."""
        return Figure(self.value - other.value, self.resampled - other.resampled)


def draw_counts(panoramas: int) -> Array:
    """How often each panorama is in each resample: (RESAMPLES, panoramas)."""
    share = np.full(panoramas, 1 / panoramas)
    return np.random.default_rng(_SEED).multinomial(panoramas, share, RESAMPLES).astype(np.float64)


def mean_of(values: Sequence[float]) -> Figure:
    """The mean of a number that each panorama has."""
    array = np.asarray(values, np.float64)
    return Figure(float(array.mean()), draw_counts(len(array)) @ array / len(array))


def ratio_of(hits: Sequence[float], of: Sequence[float]) -> Figure | None:
    """A share of windows, counted by panorama; None if there is none to count."""
    above, below = np.asarray(hits, np.float64), np.asarray(of, np.float64)
    if not below.sum():
        return None
    counts = draw_counts(len(below))
    with np.errstate(invalid="ignore"):
        resampled = (counts @ above) / (counts @ below)
    return Figure(float(above.sum() / below.sum()), resampled)
