"""Kernels in Triton compute what torch does: on a GPU, else as Triton interprets them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Triton reads it when it is imported, so these tests need a process of their own.
INTERPRET = "TRITON_INTERPRET"
RUNS = DEVICE == "cuda" or os.environ.get(INTERPRET) == "1"
needs_triton = pytest.mark.skipif(not RUNS, reason="needs a CUDA device or Triton's interpreter")


@pytest.mark.slow
@pytest.mark.skipif(RUNS, reason="the tests below run here")
def test_kernels_as_triton_interprets_them() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, INTERPRET: "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups", "shifted"),
    [((2, 32, 8, 8), 8, True), ((1, 6, 40, 51), 2, False), ((1, 160, 3, 3), 32, True)],
)
def test_group_norm(shape: tuple[int, ...], groups: int, shifted: bool, silu: bool) -> None:
    from panoweave.core.diffusion.fused.group_norm import group_norm

    x = (2 * noise(*shape) + 3).to(memory_format=torch.channels_last)
    weight, bias, shift = noise(3, shape[1]).unbind()
    added = shift.expand(shape[0], -1) if shifted else None

    def exact(x: Tensor) -> Tensor:
        if added is not None:
            x = x + added[:, :, None, None].double()
        y = functional.group_norm(x, groups, weight.double(), bias.double(), 1e-5)
        return functional.silu(y) if silu else y

    def ours(x: Tensor) -> Tensor:
        y = group_norm(x, weight, bias, groups, 1e-5, silu=silu, shift=added)
        assert y.is_contiguous(memory_format=torch.channels_last)
        return y

    check(ours, exact, x)


@pytest.mark.gpu
@needs_triton
def test_group_norms_weights_and_shift_have_gradients_too() -> None:
    from panoweave.core.diffusion.fused.group_norm import group_norm

    shape = (2, 6, 40, 51)
    x, constants = 2 * noise(*shape) + 3, noise(4, 6)
    results = []
    for dtype in (torch.float32, torch.float64):
        seen = x.to(dtype).contiguous(memory_format=torch.channels_last)
        weight, bias, *shift = constants.to(dtype).requires_grad_().unbind()
        added = torch.stack(shift)
        if dtype == torch.float32:
            y = group_norm(seen, weight, bias, 2, 1e-5, silu=True, shift=added)
        else:
            shifted = seen + added[:, :, None, None]
            y = functional.silu(functional.group_norm(shifted, 2, weight, bias, 1e-5))
        gradients = torch.autograd.grad(y, (weight, bias, added), noise(*shape).to(dtype))
        results.append([gradient.double() for gradient in gradients])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@needs_triton
def test_gated_gelu() -> None:
    from panoweave.core.diffusion.fused.gated_gelu import gated_gelu

    def exact(h: Tensor) -> Tensor:
        value, gate = h.chunk(2, dim=-1)
        return value * functional.gelu(gate)

    check(gated_gelu, exact, 3 * noise(2, 3, 2 * 1_100))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def check(ours: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """The same output and gradient as in float64, but for rounding."""
    results = []
    for run, dtype in ((ours, torch.float32), (exact, torch.float64)):
        seen = x.to(dtype).requires_grad_()
        output = run(seen)
        (gradient,) = torch.autograd.grad(output, seen, noise(*output.shape).to(dtype))
        results.append((output.detach().double(), gradient.double()))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
