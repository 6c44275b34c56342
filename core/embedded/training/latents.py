"""The latent space: principal components of 16x16 patches, known before any training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder

PATCH_PX = 16
WINDOW_PX = 256
LATENT_CHANNELS = 32

# Fully whitened (0), the weak components, nearly noise, would take as much of the UNet's
# capacity as the strong ones; as they are (1), the noise schedule would drown them at once.
KEPT_CONTRAST = 0.5


@dataclass(frozen=True)
class PatchPca:
    """Components of patches of pictures in [-1, 1], scaled: both ways are linear."""

    kernel: Tensor  # (C, 3, patch, patch): patch - mean -> latent
    inverse: Tensor  # (C, 3, patch, patch): latent -> patch - mean
    mean: Tensor  # (3, patch, patch)

    def encode(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to latents (N, C, H / patch, W / patch)."""
        return nn.functional.conv2d(pictures, self.kernel, self.bias, stride=self.kernel.shape[-1])

    @property
    def bias(self) -> Tensor:
        """What the mean patch adds to each latent."""
        return -(self.kernel * self.mean).sum((1, 2, 3))

    def nested(self, channels: int) -> PatchPca:
        """The strongest components alone: the same latents, fewer of them."""
        return PatchPca(self.kernel[:channels], self.inverse[:channels], self.mean)


def fit_pca(pictures: Tensor, channels: int = LATENT_CHANNELS, patch: int = PATCH_PX) -> PatchPca:
    """The strongest components of all patches of (N, 3, H, W), the first of unit variance."""
    patches = nn.functional.unfold(pictures, patch, stride=patch)
    rows = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double()
    mean = rows.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov((rows - mean).T))
    deviations = variances.flip(0)[:channels].clamp_min(1e-8).sqrt()
    components = axes.flip(1)[:, :channels].T
    # An eigenvector's sign is arbitrary: fix it, so that every machine gets the same latents.
    strongest = components.abs().argmax(1, keepdim=True)
    components = components * components.gather(1, strongest).sign()
    scale = ((deviations / deviations[0]) ** KEPT_CONTRAST / deviations)[:, None]
    shape = (channels, 3, patch, patch)
    return PatchPca(
        (components * scale).reshape(shape).float(),
        (components / scale).reshape(shape).float(),
        mean.reshape(shape[1:]).float(),
    )


@torch.no_grad()
def write_components(model: PatchAutoencoder, pca: PatchPca) -> None:
    """The encoder as it stays, and the decoder's linear part as it begins."""
    model.encoder.weight.copy_(pca.kernel)
    assert model.encoder.bias is not None
    model.encoder.bias.copy_(pca.bias)
    linear = model.decoder.linear
    patch = model.decoder.to_patch.upscale_factor
    shrink = pca.mean.shape[-1] // patch
    inverse = nn.functional.avg_pool2d(pca.inverse, shrink) if shrink > 1 else pca.inverse
    mean = nn.functional.avg_pool2d(pca.mean[None], shrink)[0] if shrink > 1 else pca.mean
    linear.weight.zero_()
    # PixelShuffle takes channels in this order: colour, row, column.
    linear.weight[:, :, 1, 1] = inverse.flatten(1).T
    assert linear.bias is not None
    linear.bias.copy_(mean.flatten())


def to_unit(pictures: Tensor) -> Tensor:
    """Bytes to [-1, 1]."""
    return pictures.float() / 127.5 - 1
