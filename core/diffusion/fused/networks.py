"""diffusers' UNets and autoencoders, with fewer passes over memory.

Modules change their class in place, so weights keep their names. Left out are copies between
layouts, and divisions by a factor that is 1: the results have the same bits. On a CPU oneDNN
multiplies matrices (`FusedLinear`). On a GPU, where Triton runs, GroupNorm and GEGLU are kernels of
our own, which round less.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Final

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.backends import mkldnn
from torch.nn import functional

log = logging.getLogger(__name__)


def fuse(network: nn.Module, *, kernels: bool = False) -> None:
    """Make the modules of a network faster; those of other kinds stay as they are.

    `kernels`: with kernels of our own, when it is on a GPU where `runs_triton`.
    """
    modules: list[Any] = list(network.modules())
    for module in modules:
        if type(module) is ResnetBlock2D and _is_plain_resnet(module):
            module.__class__ = FusedResnetBlock
            module.norm1.__class__ = module.norm2.__class__ = FusedGroupNorm
        elif type(module) is Transformer2DModel and module.is_input_continuous:
            module.__class__ = FusedTransformer
            module.norm.__class__ = FusedGroupNorm
        elif type(module) is GEGLU:
            module.__class__ = FusedGEGLU
        elif type(module) is nn.Linear:
            module.__class__ = FusedLinear
        elif type(module) is Attention and _is_plain_attention(module):
            module.set_processor(PlainAttention())
        if type(getattr(module, "conv_norm_out", None)) is nn.GroupNorm:
            module.conv_norm_out.__class__ = FusedGroupNorm
            if type(module.conv_act) is nn.SiLU:
                module.conv_norm_out.silu = True
                module.conv_act = nn.Identity()
    for module in network.modules():
        if isinstance(module, (FusedGroupNorm, FusedGEGLU)):
            module.kernels = kernels


@cache
def runs_triton(device: torch.device) -> bool:
    """Whether it is a GPU where Triton's kernels run. It needs a C compiler, once a kernel."""
    if device.type != "cuda":
        return False
    try:
        from panoweave.core.diffusion.fused.group_norm import group_norm

        ones = torch.ones(1, 32, 4, 4, device=device, dtype=torch.float16)
        group_norm(ones, ones[0, :, 0, 0], ones[0, :, 0, 0], 32, 1e-5)
        torch.cuda.synchronize(device)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        log.warning("Triton does not run here, panoramas take longer: %s", reason)
        return False
    return True


class FusedGroupNorm(nn.GroupNorm):
    """GroupNorm, and SiLU after it."""

    kernels = False
    silu = False

    def forward(self, x: Tensor) -> Tensor:
        return self.normalise(x, self.silu)

    def normalise(self, x: Tensor, silu: bool, shift: Tensor | None = None) -> Tensor:
        """x (N, C, H, W), to which `shift` (N, C) is added first."""
        if self.kernels and x.is_cuda and x.dtype != torch.float64:
            from panoweave.core.diffusion.fused.group_norm import group_norm

            about = self.weight, self.bias, self.num_groups, self.eps
            return group_norm(x, *about, silu=silu, shift=shift)
        if shift is not None:
            x = x + shift[:, :, None, None]
        y = functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return functional.silu(y, inplace=not torch.is_grad_enabled()) if silu else y


class FusedResnetBlock(ResnetBlock2D):  # type: ignore[misc]
    def forward(self, input_tensor: Tensor, temb: Tensor | None, *_: Any, **__: Any) -> Tensor:
        hidden = self.conv1(self.norm1.normalise(input_tensor, silu=True))
        shift = None
        if temb is not None and self.time_emb_proj is not None:
            shift = self.time_emb_proj(temb if self.skip_time_act else functional.silu(temb))
        hidden = self.conv2(self.norm2.normalise(hidden, silu=True, shift=shift))
        if self.conv_shortcut is not None:
            input_tensor = self.conv_shortcut(input_tensor)
        added: Tensor = input_tensor + hidden
        return added


def _is_plain_resnet(block: Any) -> bool:
    return (
        type(block.nonlinearity) is nn.SiLU
        and block.time_embedding_norm == "default"
        and block.upsample is None
        and block.downsample is None
        and block.output_scale_factor == 1
        and type(block.norm1) is type(block.norm2) is nn.GroupNorm
    )


class FusedTransformer(Transformer2DModel):  # type: ignore[misc]
    def _get_output_for_continuous_inputs(
        self,
        hidden_states: Tensor,
        residual: Tensor,
        batch_size: int,
        height: int,
        width: int,
        inner_dim: int,
    ) -> Tensor:
        """As in diffusers, without a copy to another layout."""
        if self.use_linear_projection:
            hidden_states = self.proj_out(hidden_states)
        image = hidden_states.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)
        if not self.use_linear_projection:
            image = self.proj_out(image)
        added: Tensor = image + residual
        return added


class FusedLinear(nn.Linear):
    """A linear layer; on a CPU, where it has many rows, a convolution over cells of them.

    PyTorch gives convolutions to oneDNN and linear layers to MKL, which on processors that are not
    Intel's takes twice the time (docs/LOG.md).
    """

    def forward(self, input: Tensor) -> Tensor:
        rows = input.numel() // self.in_features
        if rows < _LEAST_CELLS * _CELL or rows % _CELL or not _prefers_onednn(input):
            return super().forward(input)
        cells = input.reshape(-1, 1, _CELL, self.in_features).permute(0, 3, 1, 2)
        output = functional.conv2d(cells, self.weight[:, :, None, None], self.bias)
        return output.permute(0, 2, 3, 1).reshape(*input.shape[:-1], self.out_features)


_CELL: Final = 16  # rows
_LEAST_CELLS: Final = 16  # PyTorch gives oneDNN smaller convolutions only with several threads


def _prefers_onednn(x: Tensor) -> bool:
    """PyTorch gives oneDNN the linear layers in bfloat16 already."""
    has_it: bool = mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_it and x.device.type == "cpu" and x.dtype == torch.float32


class FusedGEGLU(GEGLU):  # type: ignore[misc]
    kernels = False

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        projected = self.proj(hidden_states)
        if self.kernels and projected.is_cuda and projected.dtype != torch.float64:
            from panoweave.core.diffusion.fused.gated_gelu import gated_gelu

            return gated_gelu(projected)
        value, gate = projected.chunk(2, dim=-1)
        product: Tensor = value * functional.gelu(gate)
        return product


class PlainAttention(AttnProcessor2_0):  # type: ignore[misc]
    """The same for attention without norms, masks and residuals of its own, which has less to do.

    With a mask, diffusers' own computes it.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **options: Any,
    ) -> Tensor:
        if attention_mask is not None:
            masked: Tensor = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, *args, **options
            )
            return masked
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def by_head(projected: Tensor) -> Tensor:
            heads = projected.view(*projected.shape[:2], attn.heads, -1)
            return heads.transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(
            by_head(attn.to_q(hidden_states)), by_head(attn.to_k(seen)), by_head(attn.to_v(seen))
        )
        output: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        return output


def _is_plain_attention(attn: Any) -> bool:
    norms = attn.spatial_norm, attn.group_norm, attn.norm_q, attn.norm_k, attn.norm_cross
    return (
        type(attn.processor) is AttnProcessor2_0
        and all(norm is None for norm in norms)
        and not attn.residual_connection
        and attn.rescale_output_factor == 1
        and attn.to_out is not None
    )
