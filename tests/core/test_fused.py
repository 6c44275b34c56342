"""Faster forms of diffusers' layers give the results of diffusers' own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from panoweave.core.diffusion.fused.networks import FusedGroupNorm, fuse, runs_triton
from tests.core import tiny


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_networks_have_the_same_bits_on_a_cpu(part: str, tmp_path: Path) -> None:
    plain: Any = tiny.components(tmp_path)[part].eval().requires_grad_(False)
    plain.to(memory_format=torch.channels_last)
    fused = copy.deepcopy(plain)
    fuse(fused)
    assert any(isinstance(module, FusedGroupNorm) for module in fused.modules())
    assert list(fused.state_dict()) == list(plain.state_dict())
    run = decoded if part == "vae" else denoised
    for ours, theirs in zip(run(fused), run(plain), strict=True):
        assert torch.equal(ours, theirs)


def decoded(vae: Any) -> list[Tensor]:
    return with_gradient(lambda x: vae.decode(x, return_dict=False)[0])


def denoised(unet: Any) -> list[Tensor]:
    text = tiny_noise(2, 5, unet.config.cross_attention_dim)
    return with_gradient(lambda x: unet(x, torch.tensor(500), text, return_dict=False)[0])


def with_gradient(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The output without a gradient, with one, and the gradient."""
    x = tiny_noise(2, 4, 16, 16).requires_grad_()
    with torch.no_grad():
        alone = run(x)
    output = run(x)
    (gradient,) = torch.autograd.grad(output.square().sum(), x)
    return [alone, output.detach(), gradient]


def tiny_noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(8, 32, 24), (2, 4, 64, 24), (256, 24)])
def test_many_rows_are_a_convolution_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    plain = nn.Linear(24, 40)
    fused = copy.deepcopy(plain)
    fuse(nn.Sequential(fused))
    x = tiny_noise(*shape).requires_grad_()
    expected = plain(x)
    cotangent = torch.randn_like(expected)
    (expected_gradient,) = torch.autograd.grad(expected, x, cotangent)

    monkeypatch.setattr(nn.functional, "linear", None)  # nothing calls it
    output = fused(x)
    (gradient,) = torch.autograd.grad(output, x, cotangent)

    assert output.is_contiguous()
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(240, 24), (257, 24), (24,)])
def test_few_rows_or_odd_ones_have_the_same_bits(shape: tuple[int, ...]) -> None:
    plain = nn.Linear(24, 40)
    fused = copy.deepcopy(plain)
    fuse(nn.Sequential(fused))
    x = tiny_noise(*shape)
    assert torch.equal(fused(x), plain(x))


def test_attention_with_a_mask_is_diffusers_own() -> None:
    from diffusers.models.attention_processor import Attention

    plain = Attention(query_dim=8, heads=2, dim_head=4).eval().requires_grad_(False)
    fused = copy.deepcopy(plain)
    fuse(fused)
    assert type(fused.processor) is not type(plain.processor)
    mask = torch.zeros(2, 1, 5)
    mask[1, :, 3:] = -10_000
    x = tiny_noise(2, 5, 8)
    assert torch.equal(fused(x, attention_mask=mask), plain(x, attention_mask=mask))
    assert torch.equal(fused(x), plain(x))
    assert not torch.equal(fused(x, attention_mask=mask), fused(x))


def test_a_block_of_another_kind_stays_as_it_is() -> None:
    from diffusers.models.resnet import ResnetBlock2D

    block = nn.Sequential(
        ResnetBlock2D(in_channels=32, temb_channels=32, output_scale_factor=2.0),
        ResnetBlock2D(in_channels=32, temb_channels=32, time_embedding_norm="scale_shift"),
    )
    fuse(block)
    assert {type(module) for module in block} == {ResnetBlock2D}


@pytest.mark.skipif(torch.cuda.is_available(), reason="Triton runs here")
def test_where_triton_does_not_run_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    runs_triton.cache_clear()
    assert not runs_triton(torch.device("cuda"))  # there is no such device
    assert "Triton does not run here" in caplog.text
    caplog.clear()
    assert not runs_triton(torch.device("cpu"))  # where nobody expects it
    assert caplog.text == ""
    runs_triton.cache_clear()
