"""The pipeline that the settings describe."""

from __future__ import annotations

from core.diffusion.checkpoints import load_pipeline
from core.diffusion.pipeline import SyncDiffusionPipeline
from core.embedded import checkpoint_of
from core.jobs.settings import Settings


def load_model(settings: Settings) -> SyncDiffusionPipeline:
    """Raises a DiffusionError saying what is missing and what to do."""
    return load_pipeline(
        checkpoint_of(settings.model),
        perceptual=settings.perceptual,
        perceptual_trunk=settings.perceptual_trunk,
        tiny_decoder=settings.tiny_decoder,
        controlnet=settings.controlnet,
        lora=settings.lora,
        device=settings.device,
        dtype=settings.dtype,
    )
