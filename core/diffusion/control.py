"""A ControlNet (arXiv 2302.05543): where things are, from a hint as large as the panorama."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from skimage.color import rgb2gray
from skimage.feature import canny
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import Canvas, Corner
from panoweave.core.params import ResolvedParams

# Edges as those that ControlNets were trained on, OpenCV's with thresholds 100 and 200: precision
# and recall 0.94 within a pixel (docs/LOG.md).
_SIGMA_PX: Final = 1.0
_WEAK: Final = 0.2
_STRONG: Final = 0.4
_REACH_PX: Final = 8  # more than the filters'


class Control:
    """A ControlNet, and the hint that it follows: each window sees its own crop."""

    def __init__(
        self, network: Any, hint: Tensor, ring: bool, scale: float, traits: CheckpointTraits
    ) -> None:
        """`hint` (1, 3, H, W) in [0, 1], of the whole canvas; `scale`: how strictly."""
        self._network = network
        self._hint = hint.to(network.device, network.dtype)
        self._canvas = Canvas(hint.shape[-2], hint.shape[-1], ring)
        self._scale = scale
        self._traits = traits

    def residuals(
        self, latents: Tensor, corners: Sequence[Corner], step: Step, told: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What it adds to a UNet that sees windows (N, C, S, S) at these corners.

        `told`: what the UNet is told of the prompts. Differentiable with respect to `latents`.
        """
        down, middle = self._network(
            latents,
            step.t,
            **told,
            controlnet_cond=torch.cat([self._crop(corner) for corner in corners]),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        return {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": middle,
        }

    def _crop(self, corner: Corner) -> Tensor:
        top, left = (place * self._traits.px_per_latent for place in corner)
        return self._canvas.crop(self._hint, (top, left), self._traits.window_px)


def control_by(
    network: Any,
    params: ResolvedParams,
    traits: CheckpointTraits,
    pictures: Mapping[str, Tensor],
) -> Control | None:
    """The control that a request asks for, if it does."""
    if params.control is None:
        return None
    picture = pictures["control.image"]
    if params.control.type == "canny":
        hint = canny_edges(picture, params.loop)
    else:
        hint = (picture + 1) / 2
    return Control(network, hint, params.loop, params.control.scale, traits)


def canny_edges(picture: Tensor, ring: bool = False) -> Tensor:
    """The edges of a picture (1, 3, H, W) in [-1, 1] as a hint (1, 3, H, W): 1 on them, else 0."""
    grey = rgb2gray(((picture[0].permute(1, 2, 0) + 1) / 2).cpu().double().numpy())
    around = _REACH_PX if ring else 0
    wrapped = np.pad(grey, ((0, 0), (around, around)), mode="wrap")
    edges = canny(wrapped, _SIGMA_PX, _WEAK, _STRONG)[:, around : around + grey.shape[1]]
    return torch.from_numpy(edges).to(picture).expand(1, 3, -1, -1)
