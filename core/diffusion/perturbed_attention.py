"""A UNet whose self-attention is perturbed, to be guided away from (arXiv 2403.17377).

Each place attends to itself alone: the map of self-attention is the identity. That is done in the
middle block, where a UNet decides how the parts of a picture belong together: the paper's choice
for Stable Diffusion. A UNet that attends at the middle block's resolution only is perturbed there
as a whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn


def with_perturbed_attention(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same UNet with other self-attention. Both share the memory of the weights."""
    shared = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    perturbed: UNet2DConditionModel = copy.deepcopy(unet, shared)
    lowest = [perturbed.down_blocks[-1], perturbed.mid_block, perturbed.up_blocks[0]]
    others = [*perturbed.down_blocks[:-1], *perturbed.up_blocks[1:]]
    chosen = [perturbed.mid_block] if _self_attentions(others) else lowest
    for attention in _self_attentions(chosen):
        attention.set_processor(_ToItself())
    return perturbed


def _self_attentions(blocks: Iterable[nn.Module | None]) -> list[Attention]:
    """Of a UNet's blocks; one that has no middle block has None there."""
    return [
        module.attn1
        for block in blocks
        if block is not None
        for module in block.modules()
        if isinstance(module, BasicTransformerBlock) and not module.only_cross_attention
    ]


class _ToItself:
    """A processor of diffusers. With the identity as its map, attention returns its values."""

    def __call__(self, attention: Attention, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        project, drop_out = attention.to_out
        output: Tensor = drop_out(project(attention.to_v(hidden)))
        if attention.residual_connection:
            output = output + hidden
        scale: float = attention.rescale_output_factor
        return output / scale
