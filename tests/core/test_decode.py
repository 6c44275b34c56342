from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny

from panoweave.core.diffusion.decode import decode, decode_canvas, tile_windows
from tests.core import tiny


@pytest.fixture
def tiny_autoencoder() -> AutoencoderTiny:
    torch.manual_seed(0)
    return AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(0,) * 4,
        num_decoder_blocks=(1,) * 4,
    ).eval()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 48), (16, 24)])
def test_up_to_six_windows_are_decoded_at_once(tmp_path: Path, height: int, width: int) -> None:
    vae = tiny.components(tmp_path)["vae"].eval()
    latents = torch.randn(1, 4, height, width)
    with torch.no_grad():
        assert torch.equal(decode_canvas(vae, latents, 8), decode(vae, latents)[0])


@pytest.mark.parametrize(("height", "width"), [(8, 50), (8, 131), (25, 40), (41, 70)])
@pytest.mark.parametrize("tile", [6, 2])
@torch.no_grad()
def test_tiles_equal_the_whole_where_the_decoder_looks_no_further_than_their_overlap(
    tiny_autoencoder: Any, height: int, width: int, tile: int
) -> None:
    """Away from the tiles' borders, a decoder without normalisation gives the same pixels."""
    latents = torch.randn(1, 4, height, width)
    whole = decode(tiny_autoencoder, latents)[0]
    tiled = decode_canvas(tiny_autoencoder, latents, 8, tile)
    assert tiled.shape == whole.shape
    # At a tile's border the decoder sees padding; the blend gives it the least weight there.
    apart = (tiled - whole).abs()
    assert apart.mean() < 0.05 * whole.std()
    assert (apart < 1e-4).float().mean() > 0.5


def test_less_is_decoded_at_once_of_large_windows_and_where_memory_is_short() -> None:
    assert [tile_windows(side, False) for side in (128, 512, 768, 1024)] == [6, 6, 2, 2]
    assert tile_windows(512, True) == 2


@torch.no_grad()
def test_a_flat_canvas_shows_no_seams(tmp_path: Path) -> None:
    """Through a decoder with normalisation and attention too, tiles pass into one another."""
    vae = tiny.components(tmp_path)["vae"].eval()
    flat = decode_canvas(vae, torch.ones(1, 4, 32, 352), 32)
    inner = flat[..., 256:-256]  # the picture's own edges show, in one piece too
    assert inner.diff(dim=2).abs().max() < 0.05


def test_a_large_canvas_can_be_stopped_before_each_tile(tiny_autoencoder: AutoencoderTiny) -> None:
    begun: list[None] = []

    def stop_at_the_third() -> None:
        begun.append(None)
        if len(begun) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        decode_canvas(tiny_autoencoder, torch.zeros(1, 4, 8, 160), 8, on_tile=stop_at_the_third)
