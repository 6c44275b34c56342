"""The autoencoder over patches: exact encoder, decoder that begins as its inverse, same format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from panoweave.core.diffusion.checkpoints import load_tiny_decoder
from panoweave.core.diffusion.decode import decode, decode_canvas, encode
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder

WIDTHS = (3, 48, 8, 8, 8)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PatchAutoencoder(latent_channels=6, block_out_channels=WIDTHS, layers_per_block=1)
    model.save_pretrained(tmp_path)
    again = PatchAutoencoder.from_pretrained(tmp_path)
    pictures = torch.rand(2, 3, 64, 96) * 2 - 1
    torch.testing.assert_close(again(pictures).sample, model(pictures).sample, rtol=0, atol=0)
    assert again.config.scaling_factor == 1


def test_sizes() -> None:
    model = PatchAutoencoder(latent_channels=6, block_out_channels=WIDTHS, layers_per_block=1)
    latents = encode(model, torch.zeros(1, 3, 256, 512))
    assert latents.shape == (1, 6, 16, 32)
    assert decode(model, latents).shape == (1, 3, 256, 512)
    small = PatchAutoencoder(
        latent_channels=6, block_out_channels=WIDTHS, layers_per_block=1, picture_factor=4
    )
    assert decode(small, latents).shape == (1, 3, 64, 128)


@torch.no_grad()
def test_a_canvas_decoded_in_tiles_has_no_seams() -> None:
    torch.manual_seed(0)
    model = PatchAutoencoder(latent_channels=6, block_out_channels=WIDTHS, layers_per_block=1)
    latents = torch.randn(1, 6, 16, 96)
    whole = decode(model, latents)[0]
    torch.testing.assert_close(decode_canvas(model, latents, 16, 2), whole, rtol=0, atol=1e-4)


def test_as_a_tiny_decoder_it_loads_like_one(tmp_path: Path) -> None:
    PatchAutoencoder(block_out_channels=WIDTHS, layers_per_block=1).save_pretrained(tmp_path)
    assert isinstance(load_tiny_decoder(str(tmp_path)), PatchAutoencoder)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("PatchAutoencoder", "AutoencoderKL"))
    with pytest.raises(CheckpointError, match="legal: a AutoencoderTiny or a PatchAutoencoder"):
        load_tiny_decoder(str(tmp_path))
