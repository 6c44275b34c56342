"""The latent space: principal components of 8x8 patches, known before any training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

PX_PER_LATENT = 8
LATENT_CHANNELS = 8

# Fully whitened (0), the weak components, nearly noise, would take as much of the UNet's
# capacity as the strong ones; as they are (1), the noise schedule would drown them at once.
KEPT_CONTRAST = 0.5


@dataclass(frozen=True)
class PatchPca:
    """Pictures in [-1, 1] to latents: a strided convolution."""

    kernel: torch.Tensor  # (LATENT_CHANNELS, 3, PX_PER_LATENT, PX_PER_LATENT)
    bias: torch.Tensor  # (LATENT_CHANNELS,)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, LATENT_CHANNELS, H / 8, W / 8)."""
        return torch.nn.functional.conv2d(pictures, self.kernel, self.bias, stride=PX_PER_LATENT)


def fit_pca(pictures: NDArray[np.uint8]) -> PatchPca:
    """The strongest components of all patches, the first scaled to unit variance."""
    tensor = to_tensor(pictures)
    patches = torch.nn.functional.unfold(tensor, PX_PER_LATENT, stride=PX_PER_LATENT)
    rows = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double()
    mean = rows.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov((rows - mean).T))
    deviations = variances.flip(0)[:LATENT_CHANNELS].clamp_min(1e-8).sqrt()
    components = axes.flip(1)[:, :LATENT_CHANNELS].T
    # An eigenvector's sign is arbitrary: fix it, so that every machine gets the same latents.
    components = components * components.sum(1, keepdim=True).sign()
    scale = (deviations / deviations[0]) ** KEPT_CONTRAST / deviations
    kernel = components * scale[:, None]
    shape = (LATENT_CHANNELS, 3, PX_PER_LATENT, PX_PER_LATENT)
    return PatchPca(kernel.reshape(shape).float(), -(kernel @ mean).float())


def to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) bytes to (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
