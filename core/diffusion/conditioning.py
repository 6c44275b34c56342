"""What a request brings beside its prompt, prepared for the sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import Extend
from panoweave.core.diffusion.decode import encode, from_pil
from panoweave.core.diffusion.encode_tiles import encode_image
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

if TYPE_CHECKING:
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline  # it calls this


class InputImages(Mapping[str, Tensor]):
    """All images of a request (1, 3, H, W) in [-1, 1], by field.

    Each is converted anew where it is read. A request may bring many, each as large as the
    panorama: held as tensors, they would take gigabytes of the device's memory throughout.
    """

    def __init__(self, pictures: Mapping[str, Image.Image], device: torch.device) -> None:
        self._pictures = pictures
        self._device = device

    def __getitem__(self, field: str) -> Tensor:
        return from_pil(self._pictures[field], self._device)[None]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def size(self, field: str) -> tuple[int, int] | None:
        """(width, height) in pixels; None where the request has no such image."""
        picture = self._pictures.get(field)
        return picture.size if picture else None


def read_images(
    params: ResolvedParams,
    by_key: Mapping[str, Image.Image],
    traits: CheckpointTraits,
    device: torch.device,
) -> InputImages:
    """The images of a request, of the right number and sizes.

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
    return InputImages(given, device)


def prepare_regions(
    pipeline: SyncDiffusionPipeline,
    params: ResolvedParams,
    images: Mapping[str, Tensor],
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
    traits = pipeline.traits
    height, width = noise.shape[-2:]
    canvas = Canvas(height, width, params.loop)
    regions = []
    for number, region in enumerate(params.regions):
        if region.mask:
            mask = image_mask(images[f"regions.{number}.mask"], height, width)
        else:
            mask = box_mask(region, canvas, traits.window_latents, traits.px_per_latent)
        prompts = pipeline.encode_prompt(region.prompt, region.negative_prompt)
        regions.append(Region(mask.to(noise), model_under(prompts)))
    plain = torch.split(plain_images(traits.window_px), pipeline.tile_windows)
    backgrounds = torch.cat([encode(pipeline.vae, images) for images in plain]).to(noise)
    whole = RegionalPrompts(model, regions, canvas, backgrounds, noise, scheduler)
    if not bootstrap:
        whole.bootstrap_steps = 0
    return whole


def prepare_known_region(
    pipeline: SyncDiffusionPipeline,
    extend: Extend | None,
    images: Mapping[str, Tensor],
    noise: Tensor,
    scheduler: SchedulerAdapter,
    on_tile: Callable[[], None] | None = None,
) -> KnownRegion | None:
    """The image that a request extends. `noise` (1, C, H/f, W/f): the canvas's first.

    `on_tile` is called before each tile that is encoded, if there are several.
    """
    if extend is None:
        return None
    window, scale = pipeline.traits.window_latents, pipeline.traits.px_per_latent
    latents = encode_image(
        pipeline.vae, images["extend.image"], window, scale, pipeline.tile_windows, on_tile
    )
    return KnownRegion(latents.to(noise), extend.y // scale, extend.x // scale, noise, scheduler)
