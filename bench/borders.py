"""Whether a panorama shows where its windows met."""

from __future__ import annotations

import numpy as np
from PIL import Image

from panoweave.core.diffusion.quality import STEP_REACH, column_steps, grey_levels


def border_step(image: Image.Image, window_px: int) -> float:
    """How much more colours change across the borders of windows than across any column.

    At every half window, where overlapping windows begin and end. 1: they left no trace.
    """
    steps = column_steps(grey_levels(image))
    places = np.arange(len(steps)) + STEP_REACH
    return float(steps[places % (window_px // 2) == 0].mean() / steps.mean())
