"""Whether a panorama shows where its windows met."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

_REACH: Final = 4  # columns on either side that a step is measured between


def border_step(image: Image.Image, window_px: int) -> float:
    """How much more colours change across the borders of windows than across any column.

    At every half window, where overlapping windows begin and end. 1: they left no trace.
    """
    columns = np.asarray(image, float).mean(2)  # (H, W)
    places = np.arange(_REACH, image.width - _REACH + 1)
    steps = np.array(
        [
            np.abs(columns[:, x : x + _REACH].mean(1) - columns[:, x - _REACH : x].mean(1)).mean()
            for x in places
        ]
    )
    return float(steps[places % (window_px // 2) == 0].mean() / steps.mean())
