"""What is said about how a panorama looks."""

from __future__ import annotations

import pytest

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.diffusion.quality import find_quality_warnings
from panoweave.core.embedded import WEIGHTS
from panoweave.core.model_files.defaults import read_notes
from panoweave.core.params import PanoramaParams

TRAITS = CheckpointTraits(window_px=128, px_per_latent=8)


@pytest.mark.parametrize(
    ("height", "trained", "codes"),
    [
        (128, 128, []),
        (160, 128, ["higher_than_trained"]),
        (160, 160, []),
        (512, None, []),
    ],
)
def test_a_panorama_higher_than_the_training_pictures_has_a_warning(
    height: int, trained: int | None, codes: list[str]
) -> None:
    params = PanoramaParams(prompt="a lake", height=height).resolve(TRAITS)
    warnings = find_quality_warnings(params, trained)
    assert [warning.code for warning in warnings] == codes
    for warning in warnings:
        assert warning.field == "height"
        assert f"is {height} px; the model was trained on pictures of 128 px" in warning.detail


def test_the_embedded_model_says_how_high_its_pictures_were() -> None:
    notes = read_notes(WEIGHTS)
    assert (notes.trained_height, notes.defaults.guidance_scale) == (128, 3)
