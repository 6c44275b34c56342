"""Group normalisation (arXiv 1803.08494) and SiLU on a GPU, for channels-last images, in Triton.

torch's own takes and gives NCHW, so between channels-last convolutions each call copies its input
and its output. Here nothing is copied, SiLU is a part of it, and only the input is kept for the
gradient. Each sum has a fixed order, so equal inputs give equal bits.

x (N, C, H, W) is in memory a matrix of H * W rows and C columns for each image. A first kernel
takes the moments of each column over a chunk of rows, a second combines those of a group
(https://doi.org/10.2307/2683386, Eq. 2.1), a third applies them. The backward pass is likewise.
"""

# Triton reads the kernels' source; a type would mean nothing to it.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE: Final = 4096  # numbers that a program has in registers at once
_CHUNKS: Final = 64  # of one image, at most: the second kernel reads them all at once


@triton.jit
def _moments(
    x,
    shift,
    means,
    squares,
    rows,
    columns,
    chunk_rows,
    has_shift: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
):
    """The mean of each column in a chunk of rows, and the sum of squared deviations."""
    chunk, image = tl.program_id(0), tl.program_id(2)
    column = tl.program_id(1) * tile_columns + tl.arange(0, tile_columns)
    inside = column < columns
    first = image.to(tl.int64) * rows * columns
    added = tl.zeros([tile_columns], tl.float32)
    if has_shift:
        added = tl.load(shift + image * columns + column, mask=inside, other=0).to(tl.float32)
    mean = tl.zeros([tile_columns], tl.float32)
    square = tl.zeros([tile_columns], tl.float32)
    seen = 0.0
    end = tl.minimum(rows, (chunk + 1) * chunk_rows)
    for start in range(chunk * chunk_rows, end, tile_rows):
        row = start + tl.arange(0, tile_rows)
        mask = (row < end)[:, None] & inside[None, :]
        value = tl.load(x + first + row[:, None] * columns + column[None, :], mask=mask, other=0)
        value = value.to(tl.float32)
        count = (tl.minimum(end - start, tile_rows)).to(tl.float32)
        new_mean = tl.sum(value, 0) / count
        deviation = tl.where(mask, value - new_mean[None, :], 0)
        step = new_mean - mean
        total = seen + count
        mean += step * (count / total)
        square += tl.sum(deviation * deviation, 0) + step * step * (seen * count / total)
        seen = total
    place = (image * tl.num_programs(0) + chunk) * columns + column
    tl.store(means + place, mean + added, mask=inside)
    tl.store(squares + place, square, mask=inside)


@triton.jit
def _combine(
    means,
    squares,
    shift,
    factors,
    offsets,
    rows,
    columns,
    chunks,
    chunk_rows,
    eps,
    size: tl.constexpr,
    has_shift: tl.constexpr,
    most_chunks: tl.constexpr,
    most_columns: tl.constexpr,
):
    """Of each column the factor and the offset that normalise it: x * factor + offset."""
    group, image = tl.program_id(0), tl.program_id(1)
    chunk = tl.arange(0, most_chunks)
    member = tl.arange(0, most_columns)
    column = group * size + member
    inside = member < size
    mask = (chunk < chunks)[:, None] & inside[None, :]
    place = (image * chunks + chunk)[:, None] * columns + column[None, :]
    mean = tl.load(means + place, mask=mask, other=0)
    square = tl.load(squares + place, mask=mask, other=0)
    count = tl.minimum(rows - chunk * chunk_rows, chunk_rows).to(tl.float32)[:, None]
    total = rows.to(tl.float32) * size
    weighted = tl.where(mask, mean * count, 0)
    group_mean = tl.sum(tl.sum(weighted, 1), 0) / total
    deviation = tl.where(mask, square + count * (mean - group_mean) * (mean - group_mean), 0)
    factor = 1 / tl.sqrt(tl.sum(tl.sum(deviation, 1), 0) / total + eps)
    added = tl.zeros([most_columns], tl.float32)
    if has_shift:
        added = tl.load(shift + image * columns + column, mask=inside, other=0).to(tl.float32)
    tl.store(
        factors + image * columns + column,
        tl.zeros([most_columns], tl.float32) + factor,
        mask=inside,
    )
    tl.store(offsets + image * columns + column, (added - group_mean) * factor, mask=inside)


@triton.jit
def _apply(
    x,
    factors,
    offsets,
    weight,
    bias,
    y,
    rows,
    columns,
    silu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
):
    image = tl.program_id(2)
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    column = tl.program_id(1) * tile_columns + tl.arange(0, tile_columns)
    inside = column < columns
    mask = (row < rows)[:, None] & inside[None, :]
    place = image.to(tl.int64) * rows * columns + row[:, None] * columns + column[None, :]
    factor = tl.load(factors + image * columns + column, mask=inside, other=0)[None, :]
    offset = tl.load(offsets + image * columns + column, mask=inside, other=0)[None, :]
    w = tl.load(weight + column, mask=inside, other=0).to(tl.float32)[None, :]
    b = tl.load(bias + column, mask=inside, other=0).to(tl.float32)[None, :]
    value = tl.load(x + place, mask=mask, other=0).to(tl.float32)
    z = (value * factor + offset) * w + b
    if silu:
        z = z * tl.sigmoid(z)
    tl.store(y + place, z.to(y.dtype.element_ty), mask=mask)


@triton.jit
def _gradient_sums(
    dy,
    x,
    factors,
    offsets,
    weight,
    bias,
    sums,
    products,
    rows,
    columns,
    chunk_rows,
    silu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
):
    """Of each column in a chunk: the sum of dz, and that of dz times the normalised x."""
    chunk, image = tl.program_id(0), tl.program_id(2)
    column = tl.program_id(1) * tile_columns + tl.arange(0, tile_columns)
    inside = column < columns
    first = image.to(tl.int64) * rows * columns
    factor = tl.load(factors + image * columns + column, mask=inside, other=0)[None, :]
    offset = tl.load(offsets + image * columns + column, mask=inside, other=0)[None, :]
    w = tl.load(weight + column, mask=inside, other=0).to(tl.float32)[None, :]
    b = tl.load(bias + column, mask=inside, other=0).to(tl.float32)[None, :]
    total = tl.zeros([tile_columns], tl.float32)
    product = tl.zeros([tile_columns], tl.float32)
    end = tl.minimum(rows, (chunk + 1) * chunk_rows)
    for start in range(chunk * chunk_rows, end, tile_rows):
        row = start + tl.arange(0, tile_rows)
        mask = (row < end)[:, None] & inside[None, :]
        place = first + row[:, None] * columns + column[None, :]
        normalised = tl.load(x + place, mask=mask, other=0).to(tl.float32) * factor + offset
        dz = tl.load(dy + place, mask=mask, other=0).to(tl.float32)
        if silu:
            z = normalised * w + b
            s = tl.sigmoid(z)
            dz = dz * s * (1 + z * (1 - s))
        total += tl.sum(dz, 0)
        product += tl.sum(dz * normalised, 0)
    place = (image * tl.num_programs(0) + chunk) * columns + column
    tl.store(sums + place, total, mask=inside)
    tl.store(products + place, product, mask=inside)


@triton.jit
def _gradient_means(
    sums,
    products,
    weight,
    mean_sums,
    mean_products,
    rows,
    columns,
    chunks,
    size: tl.constexpr,
    most_chunks: tl.constexpr,
    most_columns: tl.constexpr,
):
    """Both sums over a group, by its number of values; for each of its columns."""
    group, image = tl.program_id(0), tl.program_id(1)
    chunk = tl.arange(0, most_chunks)
    member = tl.arange(0, most_columns)
    column = group * size + member
    inside = member < size
    mask = (chunk < chunks)[:, None] & inside[None, :]
    place = (image * chunks + chunk)[:, None] * columns + column[None, :]
    w = tl.load(weight + column, mask=inside, other=0).to(tl.float32)[None, :]
    count = rows.to(tl.float32) * size
    total = tl.sum(tl.sum(tl.load(sums + place, mask=mask, other=0) * w, 1), 0) / count
    product = tl.sum(tl.sum(tl.load(products + place, mask=mask, other=0) * w, 1), 0) / count
    nothing = tl.zeros([most_columns], tl.float32)
    tl.store(mean_sums + image * columns + column, nothing + total, mask=inside)
    tl.store(mean_products + image * columns + column, nothing + product, mask=inside)


@triton.jit
def _gradient(
    dy,
    x,
    factors,
    offsets,
    weight,
    bias,
    mean_sums,
    mean_products,
    dx,
    rows,
    columns,
    silu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
):
    image = tl.program_id(2)
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    column = tl.program_id(1) * tile_columns + tl.arange(0, tile_columns)
    inside = column < columns
    mask = (row < rows)[:, None] & inside[None, :]
    place = image.to(tl.int64) * rows * columns + row[:, None] * columns + column[None, :]
    factor = tl.load(factors + image * columns + column, mask=inside, other=0)[None, :]
    offset = tl.load(offsets + image * columns + column, mask=inside, other=0)[None, :]
    total = tl.load(mean_sums + image * columns + column, mask=inside, other=0)[None, :]
    product = tl.load(mean_products + image * columns + column, mask=inside, other=0)[None, :]
    w = tl.load(weight + column, mask=inside, other=0).to(tl.float32)[None, :]
    b = tl.load(bias + column, mask=inside, other=0).to(tl.float32)[None, :]
    normalised = tl.load(x + place, mask=mask, other=0).to(tl.float32) * factor + offset
    dz = tl.load(dy + place, mask=mask, other=0).to(tl.float32)
    if silu:
        z = normalised * w + b
        s = tl.sigmoid(z)
        dz = dz * s * (1 + z * (1 - s))
    result = factor * (dz * w - total - normalised * product)
    tl.store(dx + place, result.to(dx.dtype.element_ty), mask=mask)


class _Tiling:
    """How x (N, C, H, W) is cut up."""

    def __init__(self, x: Tensor, groups: int) -> None:
        self.images, self.columns = x.shape[:2]
        self.rows = x.shape[2] * x.shape[3]
        self.groups = groups
        self.tile_columns = min(128, triton.next_power_of_2(self.columns))
        self.tile_rows = _TILE // self.tile_columns
        tiles = triton.cdiv(self.rows, self.tile_rows)
        self.chunk_rows = triton.cdiv(tiles, _CHUNKS) * self.tile_rows
        self.chunks = triton.cdiv(self.rows, self.chunk_rows)
        self.column_blocks = triton.cdiv(self.columns, self.tile_columns)
        self.by_chunk = self.chunks, self.column_blocks, self.images
        self.by_tile = tiles, self.column_blocks, self.images
        self.by_group = groups, self.images
        self.tile = {"tile_rows": self.tile_rows, "tile_columns": self.tile_columns}
        size = self.columns // groups
        self.group = {
            "size": size,
            "most_chunks": triton.next_power_of_2(self.chunks),
            "most_columns": triton.next_power_of_2(size),
        }

    def for_chunks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = self.images, self.chunks, self.columns
        return x.new_empty(shape, dtype=torch.float32), x.new_empty(shape, dtype=torch.float32)

    def for_images(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = self.images, self.columns
        return x.new_empty(shape, dtype=torch.float32), x.new_empty(shape, dtype=torch.float32)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shift: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        groups: int,
        eps: float,
        silu: bool,
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        how = _Tiling(x, groups)
        sizes = how.rows, how.columns
        means, squares = how.for_chunks(x)
        factors, offsets = how.for_images(x)
        if shift is not None:
            shift = shift.contiguous()
        given = x if shift is None else shift  # not read where there is none
        shifted = {"has_shift": shift is not None}
        _moments[how.by_chunk](
            x, given, means, squares, *sizes, how.chunk_rows, **shifted, **how.tile
        )
        _combine[how.by_group](
            means,
            squares,
            given,
            factors,
            offsets,
            *sizes,
            how.chunks,
            how.chunk_rows,
            eps,
            **shifted,
            **how.group,
        )
        y = torch.empty_like(x)
        _apply[how.by_tile](x, factors, offsets, weight, bias, y, *sizes, silu=silu, **how.tile)
        ctx.save_for_backward(x, factors, offsets, weight, bias)
        ctx.groups, ctx.silu = groups, silu
        ctx.shift_dtype = given.dtype
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        _, has_shift, has_weight, has_bias, *_ = ctx.needs_input_grad
        x, factors, offsets, weight, bias = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        how = _Tiling(x, ctx.groups)
        sizes = how.rows, how.columns
        sums, products = how.for_chunks(x)
        mean_sums, mean_products = how.for_images(x)
        about = factors, offsets, weight, bias
        _gradient_sums[how.by_chunk](
            dy, x, *about, sums, products, *sizes, how.chunk_rows, silu=ctx.silu, **how.tile
        )
        _gradient_means[how.by_group](
            sums, products, weight, mean_sums, mean_products, *sizes, how.chunks, **how.group
        )
        dx = torch.empty_like(x)
        _gradient[how.by_tile](
            dy, x, *about, mean_sums, mean_products, dx, *sizes, silu=ctx.silu, **how.tile
        )
        dshift = dx.sum((2, 3)).to(ctx.shift_dtype) if has_shift else None
        dweight = products.sum((0, 1)).to(weight.dtype) if has_weight else None
        dbias = sums.sum((0, 1)).to(bias.dtype) if has_bias else None
        return dx, dshift, dweight, dbias, None, None, None


def group_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    eps: float,
    *,
    silu: bool = False,
    shift: Tensor | None = None,
) -> Tensor:
    """GroupNorm of x (N, C, H, W), channels last; with `silu`, SiLU of it.

    `shift` (N, C) is added to x first.
    """
    normalised: Tensor = _GroupNorm.apply(x, shift, weight, bias, groups, eps, silu)
    return normalised
