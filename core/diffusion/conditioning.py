"""What a request brings beside its prompt, prepared for the sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import Extend
from panoweave.core.diffusion.decode import encode, from_pil
from panoweave.core.diffusion.guidance import BatchedModel
from panoweave.core.diffusion.known_region import KnownRegion
from panoweave.core.diffusion.prompts import PromptEmbeddings
from panoweave.core.diffusion.regions import (
    Region,
    RegionalPrompts,
    box_mask,
    image_mask,
    plain_images,
)
from panoweave.core.diffusion.schedulers import SchedulerAdapter
from panoweave.core.diffusion.views import Canvas
from panoweave.core.images import check_image_sizes, image_inputs, read_inline
from panoweave.core.params import ResolvedParams


def read_images(
    params: ResolvedParams,
    by_key: Mapping[str, Image.Image],
    traits: CheckpointTraits,
    device: torch.device,
) -> dict[str, Tensor]:
    """All images of a request (1, 3, H, W) in [-1, 1], by field.

    `by_key`: those that the request names by key; it holds the others itself.
    """
    inline = {
        field: read_inline(field, image.base64)
        for field, image in image_inputs(params).items()
        if image.base64 is not None
    }
    given = {**inline, **by_key}
    check_image_sizes(params, {field: image.size for field, image in given.items()}, traits)
    missing = image_inputs(params).keys() - given.keys()
    if missing:
        raise ValueError(f"no image was given for {', '.join(sorted(missing))}")
    return {field: from_pil(image, device)[None] for field, image in given.items()}


def prepare_regions(
    params: ResolvedParams,
    images: Mapping[str, Tensor],
    traits: CheckpointTraits,
    encode_prompt: Callable[[str, str], PromptEmbeddings],
    vae: Any,
    model: BatchedModel,
    model_under: Callable[[PromptEmbeddings], BatchedModel],
    noise: Tensor,
    scheduler: SchedulerAdapter,
    *,
    bootstrap: bool = True,
) -> RegionalPrompts | None:
    """The regions of a request around `model`. `noise` (1, C, H/f, W/f): the canvas's first.

    `bootstrap`: the first steps are those where subjects take shape.
    """
    if not params.regions:
        return None
    height, width = noise.shape[-2:]
    canvas = Canvas(height, width, params.loop)
    regions = []
    for number, region in enumerate(params.regions):
        if region.mask:
            mask = image_mask(images[f"regions.{number}.mask"], height, width)
        else:
            mask = box_mask(region, canvas, traits.window_latents, traits.px_per_latent)
        prompts = encode_prompt(region.prompt, region.negative_prompt)
        regions.append(Region(mask.to(noise), model_under(prompts)))
    backgrounds = encode(vae, plain_images(traits.window_px)).to(noise)
    whole = RegionalPrompts(model, regions, canvas, backgrounds, noise, scheduler)
    if not bootstrap:
        whole.bootstrap_steps = 0
    return whole


def prepare_known_region(
    extend: Extend | None,
    images: Mapping[str, Tensor],
    traits: CheckpointTraits,
    vae: Any,
    noise: Tensor,
    scheduler: SchedulerAdapter,
) -> KnownRegion | None:
    """The image that a request extends. `noise` (1, C, H/f, W/f): the canvas's first."""
    if extend is None:
        return None
    latents = encode(vae, images["extend.image"]).to(noise)
    top, left = extend.y // traits.px_per_latent, extend.x // traits.px_per_latent
    return KnownRegion(latents, top, left, noise, scheduler)
