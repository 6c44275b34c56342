"""The identity of a pipeline: two with the same one go on with each other's panoramas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import diffusers
import torch
from torch import Tensor

from panoweave.core.diffusion.fused.networks import runs_triton
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline

_SAMPLE_0_1_0: Final = 8


@dataclass(frozen=True)
class PipelineIdentity:
    """A digest of all that a panorama depends on beside its request."""

    digest: str
    earlier: tuple[str, ...]  # of the same pipeline, as earlier versions of panoweave computed it


def identify(pipeline: SyncDiffusionPipeline) -> PipelineIdentity:
    """Read every number of every network: about a second for 2 GB (docs/LOG.md)."""
    digest = hashlib.sha256("\n".join(_environment(pipeline)).encode())
    for network in _networks(pipeline):
        for name, tensor in network.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(_bytes_of(tensor))
    return PipelineIdentity(digest.hexdigest(), (_identify_0_1_0(pipeline),))


def _bytes_of(tensor: Tensor) -> memoryview:
    data: memoryview = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return data


def _networks(pipeline: SyncDiffusionPipeline) -> Iterator[Any]:
    for network in (
        pipeline.denoiser,
        pipeline.vae,
        *pipeline.text_encoders,
        pipeline.tiny_decoder,
        pipeline.controlnet,
        pipeline.perceptual,
    ):
        if network is not None:
            yield network


def _environment(pipeline: SyncDiffusionPipeline) -> list[str]:
    """Libraries, hardware and scheduler."""
    scheduler = json.dumps(dict(pipeline.scheduler.config), sort_keys=True, default=str)
    return [torch.__version__, diffusers.__version__, *_hardware(pipeline.device), scheduler]


def _hardware(device: torch.device) -> list[str]:
    """Kernels, and with them the order of sums, differ between kinds of GPUs and of CPUs."""
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        kernels = ["Triton"] if runs_triton(device) else []
        return [torch.cuda.get_device_name(device), f"cuDNN {cudnn}", *kernels]
    threads = f"{torch.get_num_threads()} threads"
    return [device.type, torch.backends.cpu.get_cpu_capability(), threads]


def _identify_0_1_0(pipeline: SyncDiffusionPipeline) -> str:
    """The identity in savepoints of version 0.1.0, which read eight numbers of each tensor."""
    digest = hashlib.sha256()
    lines = _environment(pipeline)
    for network in _networks(pipeline):
        tensors = network.state_dict()
        for name, tensor in tensors.items():
            lines.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}")
        samples = [tensor.flatten()[:_SAMPLE_0_1_0].double() for tensor in tensors.values()]
        if samples:
            digest.update(torch.cat(samples).cpu().numpy().tobytes())
    digest.update("\n".join(lines).encode())
    return digest.hexdigest()
