"""From a checkpoint's name to a pipeline ready to work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from core.diffusion.coherence import CoherenceMeter
from core.diffusion.errors import CheckpointError
from core.diffusion.perceptual_weights import PerceptualName, load_perceptual, load_stlpips_style
from core.diffusion.pipeline import SyncDiffusionPipeline


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


def load_pipeline(
    checkpoint: str,
    *,
    perceptual: PerceptualName,
    perceptual_trunk: Path | None = None,
    device: str = "auto",
) -> SyncDiffusionPipeline:
    """A pipeline with its perceptual network and its coherence meter, on a device.

    `checkpoint`: a directory, or `hub/id[@revision]`. Half precision on CUDA, float32 elsewhere.
    Raises CheckpointError or PerceptualWeightsError saying what is missing and what to do.
    """
    source, revision = resolve_checkpoint(checkpoint)
    target = resolve_device(device)
    options: dict[str, Any] = {} if revision is None else {"revision": revision}
    dtype = torch.float16 if target.type == "cuda" else torch.float32
    # Their bars for reading files are noise in logs; a download still shows the hub's own.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = SyncDiffusionPipeline.from_pretrained(source, dtype=dtype, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot load the checkpoint {checkpoint!r}: {error}; legal: a directory, or a hub id "
            "with an optional @revision"
        ) from error
    pipeline.perceptual = load_perceptual(perceptual, perceptual_trunk)
    pipeline.meter = CoherenceMeter(load_perceptual("stlpips-vgg"), load_stlpips_style())
    return pipeline.to(target)
