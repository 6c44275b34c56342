"""Panoramas all around: there is no edge, and no place is special."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.decode import decode_canvas, decode_ring
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PresetName
from tests.core import tiny


@pytest.fixture
def exact(tmp_path: Path) -> SyncDiffusionPipeline:
    """In float64: rounding differs from place to place, and grows from step to step."""
    pipeline = tiny.in_float64(tiny.pipeline(tmp_path))
    pipeline.perceptual = tiny.perceptual().double()
    return pipeline


def denoise(pipeline: SyncDiffusionPipeline, anchor: int, rolled: int) -> Tensor:
    sync = SyncParams(anchor=anchor, weight=20)
    params = PanoramaParams(
        prompt="a lake", seed=3, width=128, loop=True, steps=3, preset="paper", sync=sync
    )
    noise = tiny.draw_noise(pipeline, params).roll(rolled, dims=-1)
    return tiny.sample(pipeline, params, noise=noise, window_batch=4)


def test_a_rolled_beginning_rolls_the_result(exact: SyncDiffusionPipeline) -> None:
    """By a stride of 2 latents; the anchor, the next window now, comes along."""
    result, rolled = denoise(exact, anchor=5, rolled=0), denoise(exact, anchor=6, rolled=2)
    torch.testing.assert_close(rolled, result.roll(2, dims=-1), rtol=0, atol=1e-8)
    elsewhere = denoise(exact, anchor=5, rolled=2)
    assert (elsewhere - rolled).abs().max() > 1e-3  # synchronised, and to another anchor


def steps_between_latents(pixels: np.ndarray, px_per_latent: int) -> tuple[float, np.ndarray]:
    """The mean colour step from the last column to the first, and those where latents meet.

    The decoder paints latent by latent, so colours change a little more there.
    """
    around = np.abs(np.roll(pixels, -1, axis=1) - pixels).mean((0, 2))
    steps = around[px_per_latent - 1 :: px_per_latent]
    return float(steps[-1]), steps[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "balanced"])
def test_nobody_sees_where_the_ring_was_cut(
    embedded: SyncDiffusionPipeline, preset: PresetName
) -> None:

    def make(loop: bool) -> tuple[float, np.ndarray]:
        params = PanoramaParams(
            prompt="a lake", seed=1, width=768, loop=loop, preset=preset, steps=8
        )
        pixels = np.asarray(embedded(params).image, float)
        return steps_between_latents(pixels, embedded.traits.px_per_latent)

    seam, others = make(loop=True)
    assert seam <= np.quantile(others, 0.95)
    seam, others = make(loop=False)
    assert seam > 2 * others.max()


def test_a_ring_is_decoded_as_if_it_had_no_edge(embedded: SyncDiffusionPipeline) -> None:
    """A rolled ring is a rolled picture."""
    latents = torch.randn(1, 32, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ring = decode_ring(embedded.vae, latents, 16)
        rolled = decode_ring(embedded.vae, latents.roll(8, dims=-1), 16)
        sheet = decode_canvas(embedded.vae, latents, 16)
        rolled_sheet = decode_canvas(embedded.vae, latents.roll(8, dims=-1), 16)
    torch.testing.assert_close(rolled, ring.roll(128, dims=-1), rtol=0, atol=1e-4)
    assert (rolled_sheet - sheet.roll(128, dims=-1)).abs().max() > 0.01


@pytest.mark.parametrize(
    ("width", "legal"),
    [
        (100, "multiples of 16 from 64, nearest: 96 or 112"),
        (32, "multiples of 16 from 64, nearest: 64"),
    ],
)
def test_a_ring_is_a_whole_number_of_strides_around(tmp_path: Path, width: int, legal: str) -> None:
    traits = tiny.pipeline(tmp_path).traits
    with pytest.raises(InvalidParams) as refused:
        PanoramaParams(prompt="x", width=width, loop=True).resolve(traits)
    assert (refused.value.field, refused.value.legal) == ("width", legal)
    assert PanoramaParams(prompt="x", loop=True).resolve(traits).width == 6 * 64
