"""ControlNet (arXiv 2302.05543): a hint as large as the panorama says where things are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from skimage.color import rgb2gray
from skimage.feature import canny
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import Control
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.prompts import TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.unet import UNet
from panoweave.core.diffusion.views import Canvas, View

# These give nearly the edges that ControlNets were trained on, those of OpenCV with thresholds 100
# and 200: precision and recall are 0.94 within a pixel (docs/LOG.md).
_SIGMA_PX: Final = 1.0
_WEAK: Final = 0.2
_STRONG: Final = 0.4
_REACH_PX: Final = 8  # more than the filters reach


class ControlNet(Network):
    """A UNet with a ControlNet: each window follows its own crop of the hint."""

    def __init__(
        self,
        unet: UNet,
        controlnet: Any,
        hint: Tensor,
        traits: CheckpointTraits,
        *,
        loop: bool,
        scale: float,
    ) -> None:
        """`hint` (1, 3, H, W) in [0, 1], of the whole canvas; `scale`: how strictly to follow."""
        self._unet = unet
        self._controlnet = controlnet
        self._hint = hint.to(controlnet.device, controlnet.dtype)
        self._canvas = Canvas(hint.shape[-2], hint.shape[-1], loop)
        self._scale = scale
        self._traits = traits

    @property
    def embeds_guidance(self) -> bool:
        return self._unet.embeds_guidance

    @property
    def perturbed(self) -> ControlNet:
        """Around the UNet's; the ControlNet itself keeps its self-attention."""
        network = copy.copy(self)
        network._unet = self._unet.perturbed
        return network

    def __call__(
        self, latents: Tensor, step: Step, views: Sequence[View], text: TextEmbedding
    ) -> Tensor:
        # Converted once for both networks: the gradients of both then add up in this dtype.
        converted, text = latents.to(self._unet.dtype), text.to(self._unet.dtype)
        residuals = self.residuals(converted, step, views, text)
        return self._unet(converted, step, views, text, residuals).to(latents.dtype)

    def residuals(
        self, latents: Tensor, step: Step, views: Sequence[View], text: TextEmbedding
    ) -> dict[str, Any]:
        """What the ControlNet adds inside the UNet; differentiable with respect to `latents`."""
        down, middle = self._controlnet(
            latents,
            step.t,
            **text.as_arguments(),
            controlnet_cond=torch.cat([self._crop(view) for view in views]),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        return {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": middle,
        }

    def _crop(self, view: View) -> Tensor:
        scale = self._traits.px_per_latent
        in_px = View(view.top * scale, view.left * scale)
        return self._canvas.crop(self._hint, in_px, self._traits.window_px)


def read_hint(control: Control, image: Tensor, loop: bool) -> Tensor:
    """The hint (1, 3, H, W) in [0, 1] that a request asks for; `image` in [-1, 1]."""
    return canny_edges(image, loop) if control.type == "canny" else (image + 1) / 2


def canny_edges(image: Tensor, loop: bool = False) -> Tensor:
    """The edges of an image (1, 3, H, W) in [-1, 1] as a hint (1, 3, H, W): 1 on edges, else 0."""
    grey = rgb2gray(((image[0].permute(1, 2, 0) + 1) / 2).cpu().double().numpy())
    around = _REACH_PX if loop else 0
    wrapped = np.pad(grey, ((0, 0), (around, around)), mode="wrap")
    edges = canny(wrapped, _SIGMA_PX, _WEAK, _STRONG)[:, around : around + grey.shape[1]]
    return torch.from_numpy(edges).to(image).expand(1, 3, -1, -1)
