"""What is said about how a panorama looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.borders import border_step
from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import Extend, ImageInput
from panoweave.core.diffusion.quality import find_quality_warnings, measure_joins
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
    warnings = find_quality_warnings(Image.new("RGB", (768, height)), params, trained, None)
    assert [warning.code for warning in warnings] == codes
    for warning in warnings:
        assert warning.field == "height"
        assert f"is {height} px; the model was trained on pictures of 128 px" in warning.detail


def test_the_embedded_model_says_how_high_its_pictures_were() -> None:
    notes = read_notes(WEIGHTS)
    assert (notes.trained_height, notes.defaults.guidance_scale) == (256, 1.75)


def waves(width: int, height: int = 128) -> Image.Image:
    """A picture whose colours change everywhere, and nowhere at once."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    grey = 128 + 60 * np.sin(2 * np.pi * x / 64) + 40 * np.cos(2 * np.pi * y / 64)
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def extending(image: Image.Image, x: int, y: int = 0, **asked: Any) -> list[str]:
    """The details of the warnings of a picture (128, 64) at a place of this image."""
    extend = Extend(image=ImageInput(key="k"), x=x, y=y)
    params = PanoramaParams(
        prompt="a lake", width=image.width, height=image.height, extend=extend, **asked
    ).resolve(TRAITS)
    warnings = find_quality_warnings(image, params, None, (128, 64))
    assert {(warning.code, warning.field) for warning in warnings} <= {("visible_join", "extend")}
    return [warning.detail for warning in warnings]


@pytest.mark.parametrize("loop", [False, True])
def test_a_join_that_can_be_seen_has_a_warning(loop: bool) -> None:
    image = waves(512)
    assert extending(image, 448 if loop else 192, loop=loop) == []
    brighter = Image.eval(image, lambda level: min(255, level + 90))
    for left in (192, 448) if loop else (192,):
        joined = image.copy()
        for place in (left, left - 512):
            joined.paste(brighter.crop((0, 0, 128, 64)), (place, 0))
        (detail,) = extending(joined, left, loop=loop)
        assert "left (" in detail
        assert "right (" in detail
        assert "bottom (" in detail
        assert "top" not in detail  # the image's own edge


def test_a_picture_at_the_edge_has_no_join_there() -> None:
    assert measure_joins(waves(512), (0, 0), (128, 128), ring=False).keys() == {"right"}
    assert measure_joins(waves(512), (0, 0), (512, 128), ring=False) == {}
    plain = Image.new("RGB", (512, 128))
    assert measure_joins(plain, (128, 0), (128, 128), ring=False) == {}


def test_a_step_is_how_much_more_colours_change_there() -> None:
    """Windows of 128 px that differ: all of the change is around every second measured place."""
    grey = np.zeros((8, 512))
    grey[:, 128:256] = grey[:, 384:] = 100
    image = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    # Three jumps among 505 columns, each seen from 7 columns as 25, 50, 75, 100, 75, 50, 25.
    mean = 3 * 400 / 505
    assert border_step(image, 128) == pytest.approx(300 / 7 / mean)
    joins = measure_joins(image, (128, 0), (128, 8), ring=False)
    assert joins == {"left": pytest.approx(100 / mean), "right": pytest.approx(100 / mean)}
