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
from torch.nn import functional
from torchmetrics.image.kid import KernelInceptionDistance

from panoweave.core.diffusion.coherence import whole_windows
from panoweave.core.diffusion.decode import from_pil
from panoweave.core.diffusion.perceptual import Lpips
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, SyncParams

_SUBSET: Final = 24
_SUBSETS: Final = 200


class LastFeatures:
    """The mean of the last stage's activations, brought to a mean square of 1.

    The kernel, a cubic, is made for features of about that size.
    """

    def __init__(self) -> None:
        network = load_perceptual("stlpips-vgg")
        assert isinstance(network, Lpips)
        self._stages = nn.Sequential(*network.stages)

    def of(self, images: Sequence[Image.Image]) -> Tensor:
        """(N, 512)"""
        with torch.no_grad():
            return torch.cat([self._one(image) for image in images])

    def _one(self, image: Image.Image) -> Tensor:
        features: Tensor = self._stages(from_pil(image, torch.device("cpu"))[None]).mean((2, 3))
        return to_mean_square_1(features)


def to_mean_square_1(features: Tensor) -> Tensor:
    """Each row (N, D) scaled to the size that KID's kernel is made for."""
    size: Tensor = features.square().mean(1, keepdim=True).sqrt()
    return features / size


def make_single_windows(
    pipeline: SyncDiffusionPipeline, prompt: str, seed: int, count: int
) -> list[Image.Image]:
    """Windows that know nothing of one another."""
    side = pipeline.traits.window_px
    return whole_windows(pipeline(ask_single_windows(side, prompt, seed, count)).image, side)


def ask_single_windows(side: int, prompt: str, seed: int, count: int) -> PanoramaParams:
    """The request for `count` of them side by side: a panorama without overlap and without pull."""
    return PanoramaParams(
        prompt=prompt,
        seed=seed,
        width=count * side,
        stride=side,
        preset="paper",
        sync=SyncParams(weight=0),
    )


def nearest_distance(windows: Tensor, singles: Tensor) -> float:
    """Mean over windows' features of 1 - the cosine to the most similar window made alone."""
    ours, alone = functional.normalize(windows), functional.normalize(singles)
    return float((1 - (ours @ alone.T).amax(1)).mean())


def kid(windows: Tensor, singles: Tensor) -> float:
    """Of two sets of features: the mean over random subsets of both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all features in memory, and says so
        metric = KernelInceptionDistance(
            feature=nn.Identity(), subsets=_SUBSETS, subset_size=_SUBSET
        )
    torch.manual_seed(0)
    metric.update(singles, real=True)
    metric.update(windows, real=False)
    mean, _ = metric.compute()
    return float(mean)
