"""How far the light of a panorama's windows differs."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

import numpy as np
from PIL import Image


def upper_halves_apart(windows: Sequence[Image.Image]) -> float:
    """The mean distance between the mean colours of two windows' upper halves, of 255.

    Of windows side by side, one high, over all pairs; 0 of a single window. A root mean square over
    red, green and blue. That is where the sky is, so a panorama that drifts from day to night has
    a large one.
    """
    colours = [
        np.asarray(window.convert("RGB"), np.float64)[: window.height // 2].mean((0, 1))
        for window in windows
    ]
    if len(colours) < 2:
        return 0.0
    pairs = itertools.combinations(colours, 2)
    return statistics.fmean(float(np.sqrt(np.square(a - b).mean())) for a, b in pairs)
