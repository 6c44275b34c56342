"""A light patch discriminator: it looks at each place of a picture and says how real it looks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """Four convolutions, a field of 34 px: textures and edges, not whole scenes."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.utils.parametrizations.spectral_norm(
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
            ),
            nn.LeakyReLU(0.2),
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(2 * width, 3 * width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(3 * width, 1, 3, padding=1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """A score for each cell of 4x4 pixels."""
        scores: Tensor = self.layers(pictures)
        return scores


def critic_loss(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """Relativistic (arXiv 1807.00734), pair by pair: the real picture above the one made of it."""
    return nn.functional.softplus(critic(made) - critic(real)).mean()


def realism_loss(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """The same the other way round, for the decoder."""
    with torch.no_grad():
        standard = critic(real)
    return nn.functional.softplus(standard - critic(made)).mean()
