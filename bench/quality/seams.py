"""Whether a ring shows where its ends meet."""

from __future__ import annotations

import numpy as np
from PIL import Image

from panoweave.core.diffusion.quality import STEP_REACH, column_steps, grey_levels


def end_step(image: Image.Image) -> float:
    """How much more a ring changes where its ends meet than across any column. 1: no seam."""
    middle = image.width // 2
    steps = column_steps(np.roll(grey_levels(image), middle, axis=1))
    return float(steps[middle - STEP_REACH] / steps.mean())
