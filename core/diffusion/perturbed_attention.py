"""A UNet whose self-attention is perturbed, to be guided away from (arXiv 2403.17377).

Each place attends to itself alone: the map of self-attention is the identity. That is done at the
lowest resolution, where a UNet decides how the parts of a picture belong together. In Stable
Diffusion 1 and 2 only the middle block attends there: the paper's choice.
"""

from __future__ import annotations

import copy
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor


def with_perturbed_attention(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A second UNet with the same weights: it shares their memory."""
    shared = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    perturbed: UNet2DConditionModel = copy.deepcopy(unet, shared)
    lowest = perturbed.down_blocks[-1], perturbed.mid_block, perturbed.up_blocks[0]
    for block in filter(None, lowest):
        for module in block.modules():
            if isinstance(module, BasicTransformerBlock) and not module.only_cross_attention:
                module.attn1.set_processor(_ToItself())
    return perturbed


class _ToItself:
    """A processor of diffusers. With the identity as its map, attention returns its values."""

    def __call__(self, attention: Attention, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        project, drop_out = attention.to_out
        output: Tensor = drop_out(project(attention.to_v(hidden)))
        if attention.residual_connection:
            output = output + hidden
        scale: float = attention.rescale_output_factor
        return output / scale
