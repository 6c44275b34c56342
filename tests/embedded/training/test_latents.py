"""The latent space: components of patches, the same everywhere, inverted by the decoder."""

from __future__ import annotations

import torch

from panoweave.core.diffusion.decode import encode
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.embedded.training.latents import PatchPca, fit_pca, write_components


def _pictures(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 16, 16, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(128, 128), mode="bicubic")
    return smooth.clamp(-1, 1)


def _model(pca: PatchPca, **options: int) -> PatchAutoencoder:
    model: PatchAutoencoder = PatchAutoencoder(
        latent_channels=len(pca.kernel),
        block_out_channels=(3, 48, 8, 8, 8),
        layers_per_block=1,
        **options,
    )
    write_components(model, pca)
    return model


def test_the_strongest_components_come_first_and_signs_are_fixed() -> None:
    pca = fit_pca(_pictures(40, 0), channels=12)
    latents = pca.encode(_pictures(40, 1))
    assert latents.shape == (40, 12, 8, 8)
    spread = latents.std((0, 2, 3))
    assert 0.7 < float(spread[0]) < 1.3
    assert bool((spread[1:] < spread[:-1] * 1.2).all())
    again = fit_pca(_pictures(40, 0).flip(0), channels=12)
    torch.testing.assert_close(pca.kernel, again.kernel, rtol=1e-3, atol=1e-4)


def test_fewer_channels_are_the_first_of_more() -> None:
    pictures = _pictures(30, 0)
    few, many = fit_pca(pictures, channels=4), fit_pca(pictures, channels=8)
    torch.testing.assert_close(many.nested(4).encode(pictures), few.encode(pictures))


@torch.no_grad()
def test_the_decoder_begins_as_the_inverse() -> None:
    pca = fit_pca(_pictures(40, 0), channels=12)
    pictures = _pictures(3, 1)
    latents = pca.encode(pictures)
    back = torch.nn.functional.conv_transpose2d(latents, pca.inverse, stride=16)
    back = back + pca.mean.repeat(1, 8, 8)
    model = _model(pca)
    torch.testing.assert_close(encode(model, pictures), latents)
    torch.testing.assert_close(model.decoder(latents), back, rtol=1e-4, atol=1e-4)
    small = _model(pca, picture_factor=4).decoder(latents)
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(back, 4), rtol=1e-4, atol=1e-4)
