from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from panoweave.core.diffusion.stlpips import BlurPool, BlurredConv, reflect
from tests.core.operators import Operators


@pytest.mark.parametrize("height", [14, 15, 16, 17, 64, 65])
@pytest.mark.parametrize("width", [14, 31, 128])
def test_a_blurred_convolution_is_the_two_layers_in_turn(height: int, width: int) -> None:
    torch.manual_seed(height * width)
    convolution = nn.Conv2d(3, 4, 11, padding=2).double()
    fused = BlurredConv(convolution).double()
    in_turn = nn.Sequential(convolution, BlurPool(4).double())
    pictures = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)

    ours, expected = fused(pictures), in_turn(pictures)
    cotangent = torch.randn_like(expected)
    (our_gradient,) = torch.autograd.grad(ours, pictures, cotangent)
    (expected_gradient,) = torch.autograd.grad(expected, pictures, cotangent)

    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(our_gradient, expected_gradient, rtol=0, atol=1e-12)


def test_nothing_comes_from_the_host() -> None:
    """A CUDA graph cannot record such a copy: it waits for the device."""
    fused = BlurredConv(nn.Conv2d(3, 4, 11, padding=2))
    pictures = torch.randn(1, 3, 64, 64, requires_grad=True)
    with Operators() as operators:
        torch.autograd.grad(fused(pictures).sum(), pictures)
        assert not operators.seen & {"lift_fresh", "_local_scalar_dense"}
        torch.ones(1).new_tensor([1.0])  # would have been noticed
    assert "lift_fresh" in operators.seen


@pytest.mark.parametrize("size", [(3, 3), (3, 8), (9, 5)])
def test_reflecting_is_the_same_where_bits_must_be_equal(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    pictures = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    reflected: list[Tensor] = []
    gradients: list[Tensor] = []
    for strict in (False, True):
        torch.use_deterministic_algorithms(strict)
        try:
            reflected.append(reflect(pictures))
        finally:
            torch.use_deterministic_algorithms(False)
        cotangent = torch.arange(reflected[-1].numel()).view_as(reflected[-1]).double().sin()
        gradients += torch.autograd.grad(reflected[-1], pictures, cotangent)
    assert torch.equal(*reflected)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
