"""What a UNet computes before it reads a text: once for all texts of the same windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

_BLOCKS: Final = {"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"}


@dataclass(frozen=True)
class Front:
    """Windows on their way through a UNet, where the first block with cross-attention begins."""

    hidden: Tensor  # after that block's first residual layer, or after all blocks if none has any
    skips: tuple[Tensor, ...]  # what the way up reads again
    time: Tensor  # (N, channels)
    block: int

    def repeated(self, times: int) -> Front:
        """The same windows several times, one after the other."""
        if times == 1:
            return self
        hidden, time = torch.cat([self.hidden] * times), torch.cat([self.time] * times)
        return Front(hidden, tuple(torch.cat([x] * times) for x in self.skips), time, self.block)


def has_front(unet: Any, side: int) -> bool:
    """Whether `pass_front` and `pass_rest` compute what this UNet does, for windows of this side.

    Not with inputs beside windows, a time and a text, such as SDXL's.
    """
    config = unet.config
    others = (
        *(config.class_embed_type, config.num_class_embeds, config.addition_embed_type),
        *(config.encoder_hid_dim_type, config.time_cond_proj_dim, config.time_embedding_act_fn),
    )
    return (
        type(unet) is UNet2DConditionModel
        and all(other is None for other in others)
        and {*config.down_block_types, *config.up_block_types} <= _BLOCKS
        and config.mid_block_type == "UNetMidBlock2DCrossAttn"
        and not config.center_input_sample
        and unet.conv_norm_out is not None
        and side % 2**unet.num_upsamplers == 0
    )


def pass_front(unet: Any, latents: Tensor, t: Tensor) -> Front:
    time = unet.time_embedding(unet.get_time_embed(sample=latents, timestep=t))
    hidden = unet.conv_in(latents)
    skips = [hidden]
    for number, block in enumerate(unet.down_blocks):
        if _reads_text(block):
            hidden = _residual(block, 0, hidden, time)
            return Front(hidden, tuple(skips), time, number)
        hidden, passed = block(hidden, time)
        skips += passed
    return Front(hidden, tuple(skips), time, len(unet.down_blocks))


def pass_rest(unet: Any, front: Front, texts: Tensor) -> Tensor:
    """The output for N windows, each with its own of N texts (N, tokens, channels)."""
    hidden, skips, time = front.hidden, [*front.skips], front.time
    for block in unet.down_blocks[front.block :]:
        for number in range(len(block.resnets)):
            if number or block is not unet.down_blocks[front.block]:
                hidden = _residual(block, number, hidden, time)
            if _reads_text(block):
                attention = block.attentions[number]
                hidden = attention(hidden, encoder_hidden_states=texts, return_dict=False)[0]
            skips.append(hidden)
        for downsampler in block.downsamplers or ():
            hidden = downsampler(hidden)
            skips.append(hidden)
    hidden = unet.mid_block(hidden, time, encoder_hidden_states=texts)
    for block in unet.up_blocks:
        first = len(skips) - len(block.resnets)
        text = {"encoder_hidden_states": texts} if _reads_text(block) else {}
        hidden = block(hidden, tuple(skips[first:]), time, **text)
        del skips[first:]
    output: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    return output


def _residual(block: Any, number: int, hidden: Tensor, time: Tensor) -> Tensor:
    resnet = block.resnets[number]
    if block.gradient_checkpointing and torch.is_grad_enabled():  # as in diffusers
        passed: Tensor = block._gradient_checkpointing_func(resnet, hidden, time)
    else:
        passed = resnet(hidden, time)
    return passed


def _reads_text(block: Any) -> bool:
    return bool(getattr(block, "has_cross_attention", False))
