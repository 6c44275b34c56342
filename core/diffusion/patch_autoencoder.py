"""An autoencoder over patches: a linear encoder, and a decoder that corrects its linear inverse.

It loads and saves as diffusers' own autoencoders do; `encode` and `decode` are AutoencoderTiny's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

_CORRECTED_PX = 4  # the decoder's last convolution works on cells of 4x4 pixels


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Latents are linear components of square patches; decoding is their inverse plus a correction.

    `block_out_channels`: the decoder's widths, from the picture's own scale to the latents' scale,
    as in diffusers' autoencoders: five of them mean a factor of 16. The first two are those of the
    colours and of the last cells of pixels and follow from the format; they are not read.
    `picture_factor`: how many times smaller than the encoder's pictures the decoder's are.
    """

    _supports_gradient_checkpointing = False
    _no_split_modules: ClassVar[list[str]] = []

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 32,
        block_out_channels: tuple[int, ...] = (3, 48, 80, 128, 192),
        layers_per_block: int = 3,
        picture_factor: int = 1,
        scaling_factor: float = 1.0,  # noqa: ARG002 - read from the configuration
        force_upcast: bool = False,  # noqa: ARG002
    ) -> None:
        super().__init__()
        patch = 2 ** (len(block_out_channels) - 1)
        self.encoder = nn.Conv2d(3, latent_channels, patch, stride=patch)
        self.decoder = PatchDecoder(
            latent_channels, block_out_channels[:1:-1], layers_per_block, patch // picture_factor
        )

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1] to latents (N, C, H/f, W/f)."""
        latents = self.encoder(x)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(
        self,
        x: Tensor,
        generator: Any = None,  # noqa: ARG002 - part of diffusers' interface
        return_dict: bool = True,
    ) -> DecoderOutput | tuple[Tensor]:
        """Latents (N, C, h, w) to pictures (N, 3, h * f, w * f), about in [-1, 1]."""
        pictures = self.decoder(x)
        return DecoderOutput(sample=pictures) if return_dict else (pictures,)

    def forward(self, sample: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Pictures, encoded and decoded."""
        return self.decode(self.encoder(sample), return_dict=return_dict)


class PatchDecoder(nn.Module):
    """A linear map from latents to pixels, and convolutions at three scales that correct it.

    The linear map reads a latent and its eight neighbours: a patch alone would leave seams.
    """

    def __init__(
        self, latent_channels: int, widths: tuple[int, ...], layers: int, patch: int
    ) -> None:
        """`widths`: from the latents' scale on, doubling the resolution from each to the next."""
        super().__init__()
        self.linear = nn.Conv2d(latent_channels, 3 * patch**2, 3, padding=1)
        self.to_patch = nn.PixelShuffle(patch)
        stages: list[nn.Module] = [nn.Conv2d(latent_channels, widths[0], 3, padding=1), nn.ReLU()]
        for index, width in enumerate(widths):
            if index:
                stages += [
                    nn.Conv2d(widths[index - 1], 4 * width, 1),
                    nn.PixelShuffle(2),
                ]
            stages += [_Block(width) for _ in range(layers)]
        cell = patch // 2 ** (len(widths) - 1)
        last = nn.Conv2d(widths[-1], 3 * cell**2, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.correction = nn.Sequential(*stages, last, nn.PixelShuffle(cell))

    def forward(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.to_patch(self.linear(latents)) + self.correction(latents)
        return pictures


class _Block(nn.Module):
    """Three convolutions beside a skip, no normalisation: AutoencoderTiny's block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(x + self.layers(x))
        return y
