"""What a caller should know about how a finished panorama looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoweave.core.params import ResolvedParams

QualityCode = Literal["higher_than_trained", "visible_join"]

STEP_REACH: Final = 4  # pixels on either side that a step is measured between

# In 24 panoramas without a join, no more than 1 % of the columns were above 1.8 (docs/LOG.md).
_VISIBLE_STEP: Final = 1.8

_Grey = NDArray[np.float32]


@dataclass(frozen=True)
class QualityWarning:
    code: QualityCode
    field: str  # of the request
    detail: str


def find_quality_warnings(
    image: Image.Image,
    params: ResolvedParams,
    trained_height: int | None,
    extended: tuple[int, int] | None,
) -> list[QualityWarning]:
    """Of a finished panorama. `extended`: the size (width, height) of the picture in `extend`."""
    warnings = []
    if trained_height is not None and params.height > trained_height:
        detail = (
            f"is {params.height} px; the model was trained on pictures of {trained_height} px, and "
            "repeats them one above the other: several horizons, or haze between them"
        )
        warnings.append(QualityWarning("higher_than_trained", "height", detail))
    if params.extend is not None and extended is not None:
        place = params.extend.x, params.extend.y
        joins = measure_joins(image, place, extended, params.loop)
        visible = [f"{side} ({step:.1f})" for side, step in joins.items() if step > _VISIBLE_STEP]
        if visible:
            detail = (
                f"the picture's edge can be seen: {', '.join(visible)}. The numbers say how much "
                "more the picture changes there than elsewhere. A prompt that describes it helps"
            )
            warnings.append(QualityWarning("visible_join", "extend", detail))
    return warnings


def measure_joins(
    image: Image.Image, place: tuple[int, int], size: tuple[int, int], ring: bool
) -> dict[str, float]:
    """How much more an image changes across each side of a picture within it than elsewhere.

    `place` (x, y) and `size` (width, height) are the picture's, in pixels. Sides at the image's own
    edge are left out.
    """
    grey = grey_levels(image)
    (x, y), (width, height) = place, size
    if ring:  # turned, so that the picture is in the middle
        middle = (image.width - width) // 2
        grey, x = np.roll(grey, middle - x, axis=1), middle
    beside, above = grey[y : y + height], grey[:, x : x + width].T
    sides = {
        "left": (beside, x),
        "right": (beside, x + width),
        "top": (above, y),
        "bottom": (above, y + height),
    }
    return {
        side: float(steps[at - STEP_REACH] / steps.mean())
        for side, (part, at) in sides.items()
        if STEP_REACH <= at <= part.shape[1] - STEP_REACH
        and (steps := column_steps(part)).mean() > 0
    }


def grey_levels(image: Image.Image) -> _Grey:
    """(H, W), 0 to 255."""
    return np.asarray(image.convert("L"), np.float32)


def column_steps(grey: _Grey) -> _Grey:
    """How much (H, W) changes across each column from `STEP_REACH` on: (W - 2 STEP_REACH + 1,)."""
    count = grey.shape[1] - STEP_REACH + 1
    means = np.zeros((len(grey), count), np.float32)
    for shift in range(STEP_REACH):
        means += grey[:, shift : shift + count] / STEP_REACH
    steps: _Grey = np.abs(means[:, STEP_REACH:] - means[:, :-STEP_REACH]).mean(0)
    return steps
