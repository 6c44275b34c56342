"""Load a pipeline, by the name of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from diffusers import AutoencoderTiny, ControlNetModel
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from panoweave.core.diffusion.checkpoint_parts import load_network
from panoweave.core.diffusion.coherence import CoherenceMeter
from panoweave.core.diffusion.cuda_graphs import CudaGraphs
from panoweave.core.diffusion.errors import CheckpointError, DeviceUnavailableError
from panoweave.core.diffusion.float8 import keep_in_float8
from panoweave.core.diffusion.fused.networks import fuse, runs_triton
from panoweave.core.diffusion.lora_adapters import lora_adapter
from panoweave.core.diffusion.lora_files import find_lora
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.text_offload import place_without_text_encoders
from panoweave.core.loras import LoraSource
from panoweave.core.machine import DEFAULT_LORAS_MAX_BYTES, DtypeName, PerceptualName
from panoweave.core.model_files.errors import part_errors
from panoweave.core.model_files.find import CONTROLNET_FOLDER, TINY_FOLDER, bundled
from panoweave.core.model_files.hub import fetch_checkpoint
from panoweave.core.vocabulary import read_vocabulary

_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float8": torch.bfloat16,  # until `keep_in_float8`
}


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA if there is one, else the CPU. Raises DeviceUnavailableError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise DeviceUnavailableError(
            f"{device!r} is no device: legal are auto, cpu, cuda and numbered ones such as cuda:1"
        ) from error
    if target.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (target.index or 0) >= there:
            raise DeviceUnavailableError(
                f"the device {device} was asked for, and torch sees {there or 'no'} CUDA devices: "
                "use auto or cpu, or install the driver and a torch with CUDA"
            )
    return target


def resolve_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype | None:
    """`auto` is half precision on CUDA, float32 elsewhere. None: half, as it suits the family."""
    if dtype == "auto":
        return None if device.type == "cuda" else torch.float32
    return _DTYPES[dtype]


def load_pipeline(
    checkpoint: str,
    *,
    perceptual: PerceptualName,
    perceptual_trunk: Path | None = None,
    tiny_decoder: str | None = None,
    controlnet: str | None = None,
    lora: str | None = None,
    loras: Mapping[str, LoraSource] = MappingProxyType({}),
    loras_max_bytes: int = DEFAULT_LORAS_MAX_BYTES,
    device: str = "auto",
    dtype: DtypeName = "auto",
    offload_text_encoders: bool = False,
) -> SyncDiffusionPipeline:
    """Load a pipeline with its perceptual network and its coherence meter, onto a device.

    `checkpoint`: a directory, or `hub/id[@revision]`. `tiny_decoder`, an AutoencoderTiny, and
    `controlnet`, a ControlNetModel, likewise; None: the folders `tiny_decoder` and `controlnet` of
    the checkpoint's directory, if it has them. `lora`: see `find_lora`. `loras`: what requests may
    name, see `Loras`. `offload_text_encoders`: see `text_offload`.
    Raises CheckpointError or PerceptualWeightsError, which say what is missing and what to do.
    """
    target = resolve_device(device)
    # Progress bars for reading files only clutter logs; a download still shows the hub's own.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline = load_checkpoint(checkpoint, resolve_dtype(dtype, target))
    pipeline.vocabulary = read_vocabulary(Path(checkpoint))
    if lora:
        add_lora(pipeline, lora)
    if dtype == "float8":
        if loras:
            raise CheckpointError(
                "PANOWEAVE_LORAS: weights in float8 are too coarse to add LoRAs to; legal: another "
                "PANOWEAVE_DTYPE, or one LoRA for all requests (PANOWEAVE_LORA)"
            )
        keep_in_float8(pipeline)
    torch_dtype = pipeline.denoiser.dtype
    if source := tiny_decoder or bundled(checkpoint, TINY_FOLDER):
        pipeline.use_tiny_decoder(load_tiny_decoder(source, torch_dtype))
    if source := controlnet or bundled(checkpoint, CONTROLNET_FOLDER):
        pipeline.use_controlnet(load_controlnet(source, torch_dtype))
    pipeline.perceptual = load_perceptual(perceptual, perceptual_trunk)
    pipeline.meter = load_meter()
    for network in (
        pipeline.denoiser,
        pipeline.vae,
        pipeline.tiny_decoder,
        pipeline.controlnet,
        pipeline.perceptual,
    ):
        if network is not None:
            # Convolutions run up to a third faster (docs/LOG.md).
            network.to(memory_format=torch.channels_last)
            # Not in autoencoders: with our GroupNorm the full decoder was slower (decision 46).
            is_denoiser = network in (pipeline.denoiser, pipeline.controlnet)
            fuse(network, kernels=is_denoiser and runs_triton(target))
    if target.type == "cuda":
        pipeline.graphs = CudaGraphs()
    if offload_text_encoders and target.type != "cpu":
        place_without_text_encoders(pipeline, target)
    else:
        pipeline.to(target)
    if loras:
        pipeline.use_loras(Loras(pipeline, loras, loras_max_bytes))
    return pipeline


def load_meter() -> CoherenceMeter:
    """What measures finished panoramas: other networks than those that windows are compared by."""
    return CoherenceMeter(load_perceptual("stlpips-vgg"), load_stlpips_style())


def load_checkpoint(
    checkpoint: str, dtype: torch.dtype | None = torch.float32, *, local_files_only: bool = False
) -> SyncDiffusionPipeline:
    """The pipeline of a checkpoint, without what is loaded beside it; `dtype` None: half."""
    with part_errors(f"cannot load the checkpoint {checkpoint!r}"):
        return SyncDiffusionPipeline.from_pretrained(
            checkpoint, dtype=dtype, local_files_only=local_files_only
        )


def load_tiny_decoder(
    source: str, dtype: torch.dtype = torch.float32, *, local_files_only: bool = False
) -> Any:
    """An AutoencoderTiny or a PatchAutoencoder, by directory or `hub/id[@revision]`."""
    with part_errors(f"cannot load the tiny decoder {source!r}"):
        folder = fetch_checkpoint(source, [""], local_files_only=local_files_only)
        return load_network((AutoencoderTiny, PatchAutoencoder), folder, dtype)


def load_controlnet(
    source: str, dtype: torch.dtype = torch.float32, *, local_files_only: bool = False
) -> Any:
    """A ControlNetModel by directory or `hub/id[@revision]`."""
    with part_errors(f"cannot load the ControlNet {source!r}"):
        folder = fetch_checkpoint(source, [""], local_files_only=local_files_only)
        return load_network((ControlNetModel,), folder, dtype)


def add_lora(
    pipeline: SyncDiffusionPipeline, source: str, *, local_files_only: bool = False
) -> None:
    """Fuse a LoRA (arXiv 2106.09685) into the pipeline's networks, at full strength.

    `source`: see `find_lora`. Raises CheckpointError unless all of it is used.
    """
    file = find_lora(source, local_files_only=local_files_only)
    with lora_adapter(pipeline, file, source) as loader:
        loader.fuse_lora(safe_fusing=True)
