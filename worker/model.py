"""Loads the pipeline that the settings describe, and what its pictures are signed with."""

from __future__ import annotations

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.content_credentials import ContentCredentials
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import checkpoint_of
from panoweave.core.infra.settings import Settings


def load_credentials(settings: Settings) -> ContentCredentials | None:
    """What pictures are signed with. None: they are not. Raises CredentialsError."""
    if settings.c2pa_certificate is None or settings.c2pa_private_key is None:
        return None
    return ContentCredentials.load(
        settings.c2pa_certificate,
        settings.c2pa_private_key,
        settings.c2pa_algorithm,
        settings.c2pa_tsa_url,
    )


def load_model(settings: Settings) -> SyncDiffusionPipeline:
    """Raises a DiffusionError saying what is missing and what to do."""
    return load_pipeline(
        checkpoint_of(settings.model),
        perceptual=settings.perceptual,
        perceptual_trunk=settings.perceptual_trunk,
        tiny_decoder=settings.tiny_decoder,
        controlnet=settings.controlnet,
        lora=settings.lora,
        loras=settings.loras,
        loras_max_bytes=settings.loras_max_bytes,
        device=settings.device,
        dtype=settings.dtype,
        offload_text_encoders=settings.offload_text_encoders,
    )
