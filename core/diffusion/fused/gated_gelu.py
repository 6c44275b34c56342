"""GEGLU's product (arXiv 2002.05202, Eq. 6) on a GPU, in one kernel, in Triton."""

# Triton reads the kernels' source; a type would mean nothing to it.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK: Final = 1024


@triton.jit
def _product(h, y, columns, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < columns
    value = tl.load(h + row * 2 * columns + column, mask=inside, other=0).to(tl.float32)
    gate = tl.load(h + row * 2 * columns + columns + column, mask=inside, other=0).to(tl.float32)
    share = 0.5 * (1 + tl.math.erf(gate * 0.7071067811865476))
    tl.store(y + row * columns + column, (value * gate * share).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _product_gradient(dy, h, dh, columns, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block + tl.arange(0, block)
    inside = column < columns
    d = tl.load(dy + row * columns + column, mask=inside, other=0).to(tl.float32)
    value = tl.load(h + row * 2 * columns + column, mask=inside, other=0).to(tl.float32)
    gate = tl.load(h + row * 2 * columns + columns + column, mask=inside, other=0).to(tl.float32)
    share = 0.5 * (1 + tl.math.erf(gate * 0.7071067811865476))
    density = 0.3989422804014327 * tl.exp(-0.5 * gate * gate)
    of_value = d * gate * share
    of_gate = d * value * (share + gate * density)
    tl.store(dh + row * 2 * columns + column, of_value.to(dh.dtype.element_ty), mask=inside)
    tl.store(
        dh + row * 2 * columns + columns + column, of_gate.to(dh.dtype.element_ty), mask=inside
    )


class _GatedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        h = h.contiguous()
        columns = h.shape[-1] // 2
        y = h.new_empty(*h.shape[:-1], columns)
        _product[y.numel() // columns, triton.cdiv(columns, _BLOCK)](h, y, columns, block=_BLOCK)
        ctx.save_for_backward(h)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (h,) = ctx.saved_tensors
        dy = dy.contiguous()
        columns = dy.shape[-1]
        dh = torch.empty_like(h)
        grid = dy.numel() // columns, triton.cdiv(columns, _BLOCK)
        _product_gradient[grid](dy, h, dh, columns, block=_BLOCK)
        return dh


def gated_gelu(h: Tensor) -> Tensor:
    """a * GELU(b) for h = [a, b] (..., 2 D): (..., D)."""
    product: Tensor = _GatedGelu.apply(h)
    return product
