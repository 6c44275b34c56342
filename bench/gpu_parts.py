"""Single calls of a step, which `bench.gpu` measures: ours, and with diffusers' own layers."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.diffusion.decode import decode
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline


def unet_forward(pipeline: SyncDiffusionPipeline, windows: int) -> None:
    with torch.no_grad():
        _call_unet(pipeline, _latents(pipeline, windows))


def unet_and_gradient(pipeline: SyncDiffusionPipeline, windows: int) -> None:
    x = _latents(pipeline, windows).requires_grad_()
    torch.autograd.grad(_call_unet(pipeline, x).float().square().mean(), x)


def decoder_and_gradient(pipeline: SyncDiffusionPipeline, windows: int) -> None:
    x = _latents(pipeline, windows).requires_grad_()
    torch.autograd.grad(decode(pipeline.vae, x).square().mean(), x)


def _latents(pipeline: SyncDiffusionPipeline, windows: int) -> Tensor:
    side = pipeline.traits.window_latents
    return torch.randn((windows, pipeline.latent_channels, side, side), device=pipeline.device)


def _call_unet(pipeline: SyncDiffusionPipeline, windows: Tensor) -> Tensor:
    """Under guidance: two samples a window."""
    unet = pipeline.unet
    seen = torch.cat([windows, windows]).to(unet.dtype)
    text = seen.new_ones(len(seen), 77, unet.config.cross_attention_dim)
    output: Tensor = unet(seen, 500, text, return_dict=False)[0]
    return output
