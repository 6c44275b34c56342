"""What windows are compared with, and by what: prepared for the sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.errors import PerceptualWeightsError
from panoweave.core.diffusion.parts import PartsOfPanorama, WithoutDetails
from panoweave.core.diffusion.perceptual import Embedding
from panoweave.core.diffusion.views import View
from panoweave.core.params import ResolvedSync

if TYPE_CHECKING:
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline  # it calls this

Reference = Callable[[Sequence[View]], Embedding]


def prepare_reference(
    pipeline: SyncDiffusionPipeline,
    sync: ResolvedSync,
    images: Mapping[str, Tensor],
    parts: PartsOfPanorama | None,
) -> tuple[Appearance | None, Reference | None]:
    """How windows are compared, and what they follow in place of the anchor: `parts`, each its own,
    or an image that the request brings."""
    if pipeline.perceptual is None:
        if sync.weight and sync.steps:
            raise PerceptualWeightsError(
                "sync.weight is above 0 but the pipeline has no perceptual network: "
                'set pipeline.perceptual = load_perceptual("stlpips-alex")'
            )
        return None, None
    decoder = pipeline.tiny_decoder if sync.decoder == "tiny" else pipeline.vae
    side = pipeline.traits.window_latents
    device = pipeline.denoiser.device
    window = torch.zeros(1, pipeline.latent_channels, side, side, device=device)
    if parts:
        without_details = WithoutDetails(decoder, pipeline.perceptual, parts, window)
        return without_details, without_details.of_views
    appearance = Appearance(decoder, pipeline.perceptual)
    image = images.get("anchor_image", images.get("extend.image"))
    if image is None:
        return appearance, None
    embedding = appearance.of_image(image, window)
    return appearance, lambda _: embedding
