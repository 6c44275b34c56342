"""What a caller should know about how a finished panorama looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from panoweave.core.params import ResolvedParams

QualityCode = Literal["higher_than_trained"]


@dataclass(frozen=True)
class QualityWarning:
    code: QualityCode
    field: str  # of the request
    detail: str


def find_quality_warnings(
    params: ResolvedParams, trained_height: int | None
) -> list[QualityWarning]:
    if trained_height is None or params.height <= trained_height:
        return []
    detail = (
        f"is {params.height} px; the model was trained on pictures of {trained_height} px, and "
        "repeats them one above the other: several horizons, or haze between them"
    )
    return [QualityWarning("higher_than_trained", "height", detail)]
