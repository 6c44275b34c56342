"""Perceptual distances: windows are synchronised by one, and panoramas measured with others.

Every distance here is a squared Euclidean distance between embeddings, d(a, b) = sum_l |e_l(a) -
e_l(b)|^2. LPIPS is one too: the square roots of its channel weights and of its spatial means are
part of the embedding. So the anchor is embedded once a step, and the mean over all pairs of many
images needs only two running sums (see `coherence`).

Networks run in float32, whatever the dtype of the diffusion model: in half precision the gradient
of the spatial mean underflows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from panoweave.core.diffusion.errors import PerceptualWeightsError

Embedding = list[Tensor]  # one (N, ...) tensor per layer

# Inside the root, unlike in the published code, where the gradient at an all-zero activation is
# NaN.
_NORM_EPS: Final = 1e-8

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
# The same normalisation, as LPIPS writes it for images in [-1, 1].
_LPIPS_SHIFT: Final = (-0.030, -0.088, -0.188)
_LPIPS_SCALE: Final = (0.458, 0.448, 0.450)


def distance(a: Embedding, b: Embedding) -> Tensor:
    """The squared distance (N,) between embeddings of N images, or of N images and one."""
    per_layer = [_squares(x - y).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]
    return torch.stack(per_layer).sum(0)


def _squares(x: Tensor) -> Tensor:
    """The sum of squares over the channels (N, 1, ...): one pass, and one for the gradient."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return norms.square()


class PerceptualLoss(nn.Module, ABC):
    """A frozen network whose embeddings measure how similar two images look."""

    name: str

    def embed(self, images: Tensor) -> Embedding:
        """Embed images (N, 3, H, W) in [-1, 1]; gradients flow to the images."""
        dtype = next(self.buffers()).dtype
        with torch.autocast(images.device.type, enabled=False):
            return self._embed(images.to(dtype))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance (N,) between images (N, 3, H, W) in [-1, 1]."""
        return distance(self.embed(a), self.embed(b))

    @abstractmethod
    def _embed(self, images: Tensor) -> Embedding: ...


class Lpips(PerceptualLoss):
    """LPIPS (arXiv 1801.03924, Eq. 1) over any trunk cut into stages, one head per stage."""

    shift: Tensor
    scale: Tensor

    def __init__(self, name: str, stages: Sequence[nn.Module], heads: Sequence[Tensor]) -> None:
        """`heads`: per stage the non-negative channel weights (C,)."""
        super().__init__()
        if any(bool((head < 0).any()) for head in heads):
            raise PerceptualWeightsError(f"{name}: negative channel weights are no distance")
        self.name = name
        self.stages = nn.ModuleList(stages)
        self.roots = nn.ParameterList(head.sqrt().view(1, -1, 1, 1) for head in heads)
        self.register_buffer("shift", torch.tensor(_LPIPS_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_LPIPS_SCALE).view(1, 3, 1, 1))
        self.float().eval().requires_grad_(False)

    def _embed(self, images: Tensor) -> Embedding:
        activation = (images - self.shift) / self.scale
        embedding = []
        for stage, root in zip(self.stages, self.roots, strict=True):
            activation = stage(activation)
            places = activation.shape[-2] * activation.shape[-1]
            # Small tensors first: what has all channels is passed over twice.
            scale = ((_squares(activation) + _NORM_EPS) * places).rsqrt()
            embedding.append(activation * scale * root)
        return embedding


class GramStyle(PerceptualLoss):
    """Style loss (arXiv 1508.06576, Eq. 4-5): mean squared difference of Gram matrices.

    Over the first five convolutions, before their ReLUs; Gram matrices are divided by the number
    of activations, as the SyncDiffusion paper's Intra-Style-L does.
    """

    convolutions: Final = 5
    mean: Tensor
    std: Tensor

    def __init__(self, name: str, features: nn.Sequential) -> None:
        super().__init__()
        self.name = name
        self.layers = nn.ModuleList()
        taken = 0
        for layer in features:
            self.layers.append(layer)
            taken += isinstance(layer, nn.Conv2d)
            if taken == self.convolutions:
                break
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1))
        self.float().eval().requires_grad_(False)

    def _embed(self, images: Tensor) -> Embedding:
        activation = ((images + 1) / 2 - self.mean) / self.std
        embedding = []
        for layer in self.layers:
            activation = layer(activation)
            if isinstance(layer, nn.Conv2d):
                channels, height, width = activation.shape[1:]
                flat = activation.flatten(2)
                gram = flat @ flat.transpose(1, 2) / (channels * height * width)
                embedding.append(gram / channels)  # the mean over the C x C entries
        return embedding
