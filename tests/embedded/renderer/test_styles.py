"""Styles keep the picture's shape and place, and give the same result each time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import STYLES, Facts, apply_style

Noon = tuple[Tensor, list[Facts]]


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_style_keeps_the_shape_and_is_deterministic(few: Noon, style: str) -> None:
    pictures = few[0]
    styled = apply_style(pictures, style)
    assert styled.shape == pictures.shape
    assert styled.dtype == torch.uint8
    assert torch.equal(styled, apply_style(pictures, style))
    assert float((styled.float() - pictures.float()).abs().mean()) > 3


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_style_keeps_what_is_light_light(few: Noon, style: str) -> None:
    before = few[0].float().mean(1).flatten()
    after = apply_style(few[0], style).float().mean(1).flatten()
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.75


def test_ink_has_no_colour_and_pixels_are_flat(few: Noon) -> None:
    ink = apply_style(few[0], "ink wash").float()
    assert float((ink.amax(1) - ink.amin(1)).mean()) < 25
    pixels = apply_style(few[0], "pixel art")
    assert torch.equal(pixels[..., ::4, ::4], pixels[..., 3::4, 3::4])


def test_an_unknown_style_is_refused(few: Noon) -> None:
    with pytest.raises(ValueError, match=r"style must be one of ink wash, .*, not 'cubist'"):
        apply_style(few[0], "cubist")
