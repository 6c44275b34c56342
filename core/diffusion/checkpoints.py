"""From a model's name to a pipeline ready to work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from core.diffusion.coherence import CoherenceMeter
from core.diffusion.errors import CheckpointError
from core.diffusion.perceptual_weights import PerceptualName, load_perceptual, load_stlpips_style
from core.diffusion.pipeline import SyncDiffusionPipeline
from core.embedded import WEIGHTS


def resolve_checkpoint(model: str) -> tuple[str, str | None]:
    """(directory or hub id, hub revision) of `embedded`, a directory, or `hub/id[@revision]`."""
    if model == "embedded":
        return str(WEIGHTS), None
    if Path(model).is_dir():
        return model, None
    if model.startswith((".", "/", "~")):
        raise CheckpointError(f"there is no directory {model}")
    hub_id, _, revision = model.partition("@")
    return hub_id, revision or None


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def load_pipeline(
    model: str,
    *,
    perceptual: PerceptualName,
    perceptual_trunk: Path | None = None,
    device: str = "auto",
) -> SyncDiffusionPipeline:
    """A pipeline with its perceptual network and its coherence meter, on a device.

    Half precision on CUDA, float32 elsewhere. Raises CheckpointError or PerceptualWeightsError
    saying what is missing and what to do.
    """
    checkpoint, revision = resolve_checkpoint(model)
    target = resolve_device(device)
    options: dict[str, Any] = {} if revision is None else {"revision": revision}
    dtype = torch.float16 if target.type == "cuda" else torch.float32
    try:
        pipeline = SyncDiffusionPipeline.from_pretrained(checkpoint, dtype=dtype, **options)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot load the checkpoint {model!r}: {error}; legal: 'embedded', a directory, or "
            "a hub id with an optional @revision"
        ) from error
    pipeline.to(target)
    pipeline.perceptual = load_perceptual(perceptual, perceptual_trunk).to(target)
    pipeline.meter = CoherenceMeter(load_perceptual("stlpips-vgg"), load_stlpips_style()).to(target)
    return pipeline
