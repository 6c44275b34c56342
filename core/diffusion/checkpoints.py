"""From a checkpoint's name to a pipeline ready to work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import torch
from diffusers import AutoencoderTiny
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from core.diffusion.coherence import CoherenceMeter
from core.diffusion.errors import CheckpointError
from core.diffusion.perceptual_weights import PerceptualName, load_perceptual, load_stlpips_style
from core.diffusion.pipeline import SyncDiffusionPipeline

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_TINY_FOLDER: Final = "tiny_decoder"


def resolve_checkpoint(checkpoint: str) -> tuple[str, str | None]:
    """(directory or hub id, hub revision) of a directory or of `hub/id[@revision]`."""
    if Path(checkpoint).is_dir():
        return checkpoint, None
    if checkpoint.startswith((".", "/", "~")):
        raise CheckpointError(f"there is no directory {checkpoint}")
    hub_id, _, revision = checkpoint.partition("@")
    return hub_id, revision or None


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def resolve_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """`auto` is half precision on CUDA, float32 elsewhere."""
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return _DTYPES[dtype]


def load_pipeline(
    checkpoint: str,
    *,
    perceptual: PerceptualName,
    perceptual_trunk: Path | None = None,
    tiny_decoder: str | None = None,
    device: str = "auto",
    dtype: DtypeName = "auto",
) -> SyncDiffusionPipeline:
    """A pipeline with its perceptual network and its coherence meter, on a device.

    `checkpoint`: a directory, or `hub/id[@revision]`. `tiny_decoder`: an AutoencoderTiny, named
    likewise; None: the folder `tiny_decoder` of the checkpoint's directory, where there is one.
    Raises CheckpointError or PerceptualWeightsError saying what is missing and what to do.
    """
    source, revision = resolve_checkpoint(checkpoint)
    target = resolve_device(device)
    options: dict[str, Any] = {"dtype": resolve_dtype(dtype, target)}
    if revision is not None:
        options["revision"] = revision
    # Their bars for reading files are noise in logs; a download still shows the hub's own.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = SyncDiffusionPipeline.from_pretrained(source, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot load the checkpoint {checkpoint!r}: {error}; legal: a directory, or a hub id "
            "with an optional @revision"
        ) from error
    bundled = Path(source) / _TINY_FOLDER
    if tiny_decoder or bundled.is_dir():
        small = load_tiny_decoder(tiny_decoder or str(bundled), options["dtype"])
        pipeline.use_tiny_decoder(small)
    pipeline.perceptual = load_perceptual(perceptual, perceptual_trunk)
    pipeline.meter = CoherenceMeter(load_perceptual("stlpips-vgg"), load_stlpips_style())
    for network in (pipeline.unet, pipeline.vae, pipeline.tiny_decoder, pipeline.perceptual):
        if network is not None:
            # Convolutions run up to a third faster (docs/LOG.md); the values are the same.
            network.to(memory_format=torch.channels_last)
    return pipeline.to(target)


def load_tiny_decoder(source: str, dtype: torch.dtype = torch.float32) -> Any:
    """An AutoencoderTiny by directory or `hub/id[@revision]`."""
    place, revision = resolve_checkpoint(source)
    options: dict[str, Any] = {"dtype": dtype}
    if revision is not None:
        options["revision"] = revision
    try:
        return AutoencoderTiny.from_pretrained(place, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot load the tiny decoder {source!r}: {error}; legal: a directory, or a hub id "
            "with an optional @revision"
        ) from error
