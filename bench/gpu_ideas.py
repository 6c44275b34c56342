"""What `bench.gpu` compares with panoweave as it is: each a change that holds within a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from panoweave.core.diffusion import pipeline as pipeline_module
from panoweave.core.diffusion import unet as unet_module
from panoweave.core.diffusion.fused.networks import FusedGEGLU, FusedGroupNorm
from panoweave.core.diffusion.perceptual import Embedding, Lpips
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import sample_syncdiffusion

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


def whole_halves(_: SyncDiffusionPipeline) -> Any:
    return patch.object(unet_module, "has_front", lambda *_: False)


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
