"""Regions with prompts of their own: MultiDiffusion's layouts (arXiv 2302.08113, Sec. 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from panoweave.core.conditions import ResolvedRegion, fade_length
from panoweave.core.diffusion.guidance import BatchedModel, take
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import Canvas, View

# Bootstrapping: in this share of the steps, the first ones, a region is denoised in front of a
# plain background, so that its subject takes shape inside of the region.
_BOOTSTRAP_SHARE: Final = 0.2

# The colours of these backgrounds, in turn.
_COLOURS: Final = tuple(product((-0.5, 0.5), repeat=3))


@dataclass(frozen=True)
class Region:
    """A mask, and the model under the region's prompt."""

    mask: Tensor  # (1, 1, H/f, W/f), 0 to 1
    model: BatchedModel


class RegionalPrompts:
    """Wraps a model: the regions' prompts hold in their regions, the model's own elsewhere.

    Regions that overlap share.
    """

    def __init__(
        self,
        model: BatchedModel,
        regions: Sequence[Region],
        canvas: Canvas,
        backgrounds: Tensor,
        noise: Tensor,
        scheduler: SchedulerAdapter,
    ) -> None:
        """`backgrounds` (K, C, S, S): latents of one colour each; `noise`: the canvas's first."""
        self._model = model
        self._regions = regions
        # To choose windows without waiting for a GPU.
        self._masks_on_host = [region.mask.cpu() for region in regions]
        self._canvas = canvas
        self._backgrounds = backgrounds
        self._noise = noise
        self._scheduler = scheduler
        self.bootstrap_steps = round(_BOOTSTRAP_SHARE * len(scheduler.steps))

    def __call__(
        self,
        windows: Tensor,
        step: Step,
        views: Sequence[View],
        cached_predictions: Mapping[View, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """The blended output sum_i M_i e_i / sum_i M_i for windows (N, C, S, S).

        A step is linear in the model output, so this is MultiDiffusion's average of denoised
        windows (Eq. 5). `cached_predictions`: outputs of the wrapped model that are known.
        """
        outputs = self._model(windows, step, views, cached_predictions)
        size = windows.shape[-1]
        masks = [self._canvas.read(region.mask, views, size) for region in self._regions]
        inside = torch.stack(masks).sum(0)  # (N, 1, S, S)
        outside = (1 - inside).clamp(min=0)
        total, weight = outputs * outside, outside + inside
        for number, (region, mask) in enumerate(zip(self._regions, masks, strict=True)):
            shown = self._canvas.read(self._masks_on_host[number], views, size)
            touched = shown.flatten(1).any(1).nonzero().flatten().tolist()
            if not touched:
                continue
            seen = windows
            if step.index < self.bootstrap_steps:
                background = self._background(step, views, size, step.index + number)
                seen = windows * mask + background * (1 - mask)
            output = region.model(take(seen, touched), step, [views[i] for i in touched])
            for i, blended in zip(touched, output * take(mask, touched), strict=True):
                total[i] += blended
        return total / weight

    def _background(self, step: Step, views: Sequence[View], size: int, number: int) -> Tensor:
        """Windows (N, C, S, S) of one colour, noised to the step."""
        colour = self._backgrounds[number % len(self._backgrounds)]
        noise = self._canvas.read(self._noise, views, size)
        return self._scheduler.add_noise(colour.expand_as(noise), noise, step)


def box_mask(region: ResolvedRegion, canvas: Canvas, window: int, px_per_latent: int) -> Tensor:
    """The mask (1, 1, H/f, W/f) of a region that is a box. `window`: the side of a window."""
    assert region.x is not None  # a region without a box has a mask
    assert region.width is not None
    assert region.height is not None
    left, width, top, height = (
        length // px_per_latent for length in (region.x, region.width, region.y, region.height)
    )
    rows = _fading(canvas.height, top, height, window, ring=False)
    columns = _fading(canvas.width, left, width, window, canvas.ring)
    return (rows[:, None] * columns)[None, None]


def _fading(side: int, start: int, length: int, window: int, ring: bool) -> Tensor:
    """1 inside of a box, 0 outside, along one side of the canvas; with a ramp around its ends.

    A sharp end would be seen as an edge. Boxes side by side fade into one another: there, their
    masks add up to 1. At the canvas's own end a box has no ramp.
    """
    fade = fade_length(length, window)
    end = start + length
    place = torch.arange(side) + 0.5
    if ring:
        place = torch.stack([place - side, place, place + side])
    else:
        start = start if start > 0 else -side
        end = end if end < side else 2 * side
    inside = torch.minimum(place - start, end - place)  # negative outside
    ramp = (inside / (2 * fade) + 0.5).clamp(0, 1)
    return ramp.sum(0).clamp(max=1) if ring else ramp


def image_mask(image: Tensor, height: int, width: int) -> Tensor:
    """The mask (1, 1, height, width) of an image (1, 3, H, W) in [-1, 1]: white is 1."""
    return adaptive_avg_pool2d((image.mean(1, keepdim=True) + 1) / 2, (height, width))


def plain_images(side_px: int) -> Tensor:
    """Images (K, 3, side, side) in [-1, 1] of one colour each."""
    return torch.tensor(_COLOURS).view(-1, 3, 1, 1).expand(-1, 3, side_px, side_px)
