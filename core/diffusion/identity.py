"""Which pipeline this is: two with the same identity go on with each other's panoramas."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import diffusers
import torch

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline

_SAMPLE: Final = 8  # numbers of each tensor


def identify(pipeline: SyncDiffusionPipeline) -> str:
    """A digest of all that the bits of a picture depend on beside its request.

    Of every tensor of every network the first few numbers: training, or a LoRA folded in, leaves
    none of them as they were, and whole files would take seconds to read.
    """
    digest = hashlib.sha256()
    told = [torch.__version__, diffusers.__version__, *_hardware(pipeline.device)]
    told.append(json.dumps(dict(pipeline.scheduler.config), sort_keys=True, default=str))
    for network in (
        pipeline.unet,
        pipeline.vae,
        pipeline.text_encoder,
        pipeline.text_encoder_2,
        pipeline.tiny_decoder,
        pipeline.controlnet,
        pipeline.perceptual,
    ):
        tensors = network.state_dict() if network is not None else {}
        told += [f"{name} {tensor.dtype} {tuple(tensor.shape)}" for name, tensor in tensors.items()]
        if tensors:
            samples = [tensor.flatten()[:_SAMPLE].double() for tensor in tensors.values()]
            digest.update(torch.cat(samples).cpu().numpy().tobytes())
    digest.update("\n".join(told).encode())
    return digest.hexdigest()


def _hardware(device: torch.device) -> list[str]:
    """Kernels differ between kinds of GPUs and of CPUs, and so does the order of their sums."""
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return [torch.cuda.get_device_name(device), f"cuDNN {cudnn}"]
    threads = f"{torch.get_num_threads()} threads"
    return [device.type, torch.backends.cpu.get_cpu_capability(), threads]
