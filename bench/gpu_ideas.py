"""What `bench.gpu` compares with panoweave as it is: each a change that holds within a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from panoweave.core.diffusion import pipeline as pipeline_module
from panoweave.core.diffusion.decode import decode
from panoweave.core.diffusion.fused.networks import FusedGEGLU, FusedGroupNorm
from panoweave.core.diffusion.guidance import ClassifierFreeGuidance
from panoweave.core.diffusion.perceptual import Embedding, Lpips
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import sample_syncdiffusion
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View

Change = Callable[[SyncDiffusionPipeline], Any]  # a context manager


def as_it_is(_: SyncDiffusionPipeline) -> Any:
    return nullcontext()


@contextmanager
def without_graphs(pipeline: SyncDiffusionPipeline) -> Iterator[None]:
    graphs, pipeline.graphs = pipeline.graphs, None
    yield
    pipeline.graphs = graphs


@contextmanager
def without_kernels(pipeline: SyncDiffusionPipeline) -> Iterator[None]:
    """torch's GroupNorm and GEGLU."""
    networks = [pipeline.denoiser, pipeline.vae]
    modules = [module for network in networks for module in network.modules()]
    ours = [m for m in modules if isinstance(m, (FusedGroupNorm, FusedGEGLU)) and m.kernels]
    for module in ours:
        module.kernels = False
    yield
    for module in ours:
        module.kernels = True


def anchor_alone(_: SyncDiffusionPipeline) -> Any:
    def sample(*args: Any, **options: Any) -> Any:
        return sample_syncdiffusion(*args, **{**options, "batch_anchor": False})

    return patch.object(pipeline_module, "sample_syncdiffusion", sample)


@contextmanager
def nchw(pipeline: SyncDiffusionPipeline) -> Iterator[None]:
    networks = [pipeline.denoiser, pipeline.vae, pipeline.tiny_decoder]
    for network in networks:
        network.to(memory_format=torch.contiguous_format)
    with without_kernels(pipeline):
        yield
    for network in networks:
        network.to(memory_format=torch.channels_last)


def any_bits(_: SyncDiffusionPipeline) -> Any:
    return patch.object(pipeline_module, "deterministic", lambda _: nullcontext())


def cudnn_attention(_: SyncDiffusionPipeline) -> Any:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(order, set_priority=True)


def conditional_gradient(_: SyncDiffusionPipeline) -> Any:
    """Backwards through the conditional half only.

    Guidance's halves have the coefficients g and 1 - g, and nearly the same Jacobian: J_c stands
    for the sum of both.
    """
    whole = ClassifierFreeGuidance.__call__

    def call(self: Any, latents: Tensor, step: Step, views: Sequence[View]) -> Tensor:
        if not torch.is_grad_enabled():
            return whole(self, latents, step, views)
        count = len(latents)
        output: Tensor = self._network(
            latents, step, views, self._prompts.conditional.repeated(count)
        )
        with torch.no_grad():
            texts = self._prompts.unconditional.repeated(count)
            other = self._network(latents.detach(), step, views, texts)
            guided = other + self._scale * (output.detach() - other)
        guided_output: Tensor = guided + (output - output.detach())
        return guided_output

    return patch.object(ClassifierFreeGuidance, "__call__", call)


def half_perceptual(_: SyncDiffusionPipeline) -> Any:
    """The perceptual network's convolutions in bfloat16; means and norms stay in float32."""

    def embed(self: Any, images: Tensor) -> Embedding:
        activation = (images - self.shift) / self.scale
        embedding = []
        for stage, root in zip(self.stages, self.roots, strict=True):
            with torch.autocast(images.device.type, torch.bfloat16, cache_enabled=False):
                activation = stage(activation)
            exact = activation.float()
            norm = (exact.square().sum(1, keepdim=True) + 1e-8).sqrt()
            height, width = exact.shape[-2:]
            embedding.append(exact * (root / norm) / math.sqrt(height * width))
        return embedding

    return patch.object(Lpips, "_embed", embed)


class LinearDecoder(nn.Module):
    """Colours as a linear function of each latent, fitted to an autoencoder; at half its size."""

    def __init__(self, vae: Any, channels: int, side: int) -> None:
        super().__init__()
        self.config = vae.config
        generator = torch.Generator().manual_seed(0)
        seen, shown = [], []
        for blur in (1, 2, 4, 8, 16):
            noise = torch.randn(1, channels, *2 * (max(1, side // blur),), generator=generator)
            latents = interpolate(noise, (side, side), mode="bilinear").to(vae.device)
            latents = latents / latents.std()
            image = decode(vae, latents).float()
            small = nn.functional.adaptive_avg_pool2d(image, (side, side))
            seen.append((latents / vae.config.scaling_factor).movedim(1, -1).reshape(-1, channels))
            shown.append(small.movedim(1, -1).reshape(-1, 3))
        inputs = torch.cat(seen).double().cpu()
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1).double()], 1)
        solved = torch.linalg.lstsq(inputs, torch.cat(shown).double().cpu()).solution
        self.register_buffer("factors", solved.T.float().to(vae.device).contiguous())
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        self.size = side * scale // 2

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def decode(self, latents: Tensor, **_: Any) -> tuple[Tensor]:
        factors: Any = self.factors
        colours = nn.functional.conv2d(latents, factors[:, :-1, None, None], factors[:, -1])
        return (interpolate(colours, (self.size, self.size), mode="bilinear"),)


@contextmanager
def linear_decoder(pipeline: SyncDiffusionPipeline) -> Iterator[None]:
    tiny = pipeline.tiny_decoder
    with torch.no_grad():
        side = pipeline.traits.window_latents
        pipeline.tiny_decoder = LinearDecoder(pipeline.vae, pipeline.latent_channels, side)
    yield
    pipeline.tiny_decoder = tiny


@contextmanager
def all_three(pipeline: SyncDiffusionPipeline) -> Iterator[None]:
    """One half, bfloat16, and the linear decoder."""
    with (
        conditional_gradient(pipeline),
        half_perceptual(pipeline),
        linear_decoder(pipeline),
    ):
        yield
