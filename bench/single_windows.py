"""How far a panorama's windows are from windows made alone: the price of making them agree.

Two figures. `nearest_distance` asks of each window whether one like it could have been made alone.
`kid` compares the two sets as wholes; panoramas whose windows agree show few of all the looks
that windows alone have, so it needs many panoramas.

KID (arXiv 1801.01401, polynomial kernel) as torchmetrics computes it, over the last features of
ST-LPIPS's VGG16 instead of Inception's, whose weights no package ships. So its values compare
methods in one table, and nothing with published KIDs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from core.diffusion.coherence import whole_windows
from core.diffusion.decode import from_pil
from core.diffusion.perceptual import Lpips
from core.diffusion.perceptual_weights import load_perceptual
from core.diffusion.pipeline import SyncDiffusionPipeline
from core.params import PanoramaParams, SyncParams

_SUBSET: Final = 24
_SUBSETS: Final = 200


class LastFeatures(nn.Module):
    """Pictures (N, 3, H, W) in [0, 1] to the mean of the last stage's activations (N, 512).

    Brought to a mean square of 1: the kernel, a cubic, is made for features of about that size.
    """

    def __init__(self) -> None:
        super().__init__()
        network = load_perceptual("stlpips-vgg")
        assert isinstance(network, Lpips)
        self.stages = network.stages

    def of(self, images: Sequence[Image.Image]) -> Tensor:
        """(N, 512)"""
        cpu = torch.device("cpu")
        with torch.no_grad():
            return torch.cat([self((from_pil(image, cpu)[None] + 1) / 2) for image in images])

    def forward(self, images: Tensor) -> Tensor:
        activation = 2 * images - 1
        for stage in self.stages:
            activation = stage(activation)
        features = activation.mean((2, 3))
        return features / features.square().mean(1, keepdim=True).sqrt()


def make_single_windows(
    pipeline: SyncDiffusionPipeline, prompt: str, seed: int, count: int
) -> list[Image.Image]:
    """Windows that know nothing of one another: a panorama without overlap and without pull."""
    side = pipeline.traits.window_px
    asked = PanoramaParams(
        prompt=prompt,
        seed=seed,
        width=count * side,
        stride=side,
        preset="paper",
        sync=SyncParams(weight=0),
    )
    return whole_windows(pipeline(asked).image, side)


def nearest_distance(
    features: LastFeatures, windows: Sequence[Image.Image], singles: Sequence[Image.Image]
) -> float:
    """Mean over windows of 1 - the cosine to the most similar window made alone."""
    ours, alone = (
        torch.nn.functional.normalize(features.of(images)) for images in (windows, singles)
    )
    return float((1 - (ours @ alone.T).amax(1)).mean())


def kid(
    features: LastFeatures, windows: Sequence[Image.Image], singles: Sequence[Image.Image]
) -> float:
    """The mean over random subsets of both sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all features in memory, and says so
        metric = KernelInceptionDistance(
            feature=features, subsets=_SUBSETS, subset_size=_SUBSET, normalize=True
        )
    torch.manual_seed(0)
    with torch.no_grad():
        for real, images in ((True, singles), (False, windows)):
            for image in images:
                metric.update((from_pil(image, torch.device("cpu"))[None] + 1) / 2, real=real)
        mean, _ = metric.compute()
    return float(mean)
