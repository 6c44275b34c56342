"""Regions with prompts of their own: MultiDiffusion's layouts (arXiv 2302.08113, Sec. 4.2).

Where regions lie, the background's prompt says nothing; where they overlap, they share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import ResolvedRegion
from panoweave.core.diffusion.decode import encode
from panoweave.core.diffusion.denoise import Denoiser, in_batches
from panoweave.core.diffusion.prompts import PromptEmbeddings
from panoweave.core.diffusion.schedulers import Sampler, Step
from panoweave.core.diffusion.views import WindowGrid
from panoweave.core.params import ResolvedParams

# So large a share of the steps, the first ones, a region is denoised before plain colours instead
# of what the others make around it: what is to be in the region takes shape inside it.
_BOOTSTRAP_SHARE: Final = 0.2

# Before which colours: the corners of a cube inside that of all colours.
_COLOURS: Final = tuple(product((-0.5, 0.5), repeat=3))


@dataclass(frozen=True)
class Region:
    """A prompt and where it holds."""

    mask: Tensor  # (1, 1, H/f, W/f), 0 to 1
    embeddings: PromptEmbeddings


def box(region: ResolvedRegion, height: int, width: int, px_per_latent: int) -> Tensor:
    """The mask (1, 1, height, width) of a region that is a box, on a canvas in latents."""
    assert region.x is not None  # a region without a box has a mask
    assert region.width is not None
    assert region.height is not None
    mask = torch.zeros(1, 1, height, width)
    top, left = region.y // px_per_latent, region.x // px_per_latent
    bottom = top + region.height // px_per_latent
    right = left + region.width // px_per_latent
    mask[..., top:bottom, left:right] = 1
    return mask


def painted(picture: Tensor, height: int, width: int) -> Tensor:
    """The mask (1, 1, height, width) that a picture (1, 3, H, W) in [-1, 1] shows: white is 1."""
    return adaptive_avg_pool2d((picture.mean(1, keepdim=True) + 1) / 2, (height, width))


def plain_pictures(side_px: int) -> Tensor:
    """Pictures (K, 3, side, side) of one colour each."""
    return torch.tensor(_COLOURS).view(-1, 3, 1, 1).expand(-1, 3, side_px, side_px)


class Layout:
    """Blends the predictions of all prompts, window by window."""

    def __init__(
        self, regions: Sequence[Region], denoiser: Denoiser, backdrop: Backdrop, steps: int
    ) -> None:
        self._regions = regions
        self._denoiser = denoiser
        self._backdrop = backdrop
        self._bootstrap_steps = round(_BOOTSTRAP_SHARE * steps)

    def blend(self, predictions: Tensor, windows: Tensor, grid: WindowGrid, step: Step) -> Tensor:
        """The background's predictions for windows (N, C, S, S), and each region's in its place.

        sum_i M_i eps_i / sum_i M_i: A step is linear in the prediction, so this is
        MultiDiffusion's average of denoised windows (Eq. 5).
        """
        if not self._regions:
            return predictions
        masks = [grid.read(region.mask) for region in self._regions]  # (N, 1, S, S) each
        outside = 1 - torch.stack(masks).amax(0)
        total, weight = predictions * outside, outside + torch.stack(masks).sum(0)
        for number, (region, mask) in enumerate(zip(self._regions, masks, strict=True)):
            seen = windows
            if step.index < self._bootstrap_steps:
                behind = self._backdrop.at(grid, step, step.index + number)
                seen = windows * mask + behind * (1 - mask)
            touched = mask.flatten(1).any(1).nonzero().flatten().tolist()
            for batch in in_batches(touched, self._denoiser.window_batch):
                corners = [grid.corners[index] for index in batch]
                own = self._denoiser.predict(seen[batch], corners, step, region.embeddings)
                total[batch] += own * mask[batch]
        return total / weight


class Backdrop:
    """Windows of one colour, noised to any step: what a region first takes shape before."""

    def __init__(self, colours: Callable[[], Tensor], noise: Tensor, sampler: Sampler) -> None:
        """`colours`: makes the latents (K, C, S, S); `noise`: the canvas's first (1, C, h, w)."""
        self._make_colours = colours
        self._noise = noise
        self._sampler = sampler

    def at(self, grid: WindowGrid, step: Step, number: int) -> Tensor:
        """Windows (N, C, S, S) at a step, of the colour of that number."""
        colour = self._colours[number % len(self._colours)]
        noise = grid.read(self._noise)
        return self._sampler.noised(colour.expand_as(noise), noise, step)

    @cached_property
    def _colours(self) -> Tensor:
        return self._make_colours()


def lay_out(
    params: ResolvedParams,
    traits: CheckpointTraits,
    pictures: Mapping[str, Tensor],
    encode_prompt: Callable[[str, str], PromptEmbeddings],
    vae: Any,
    denoiser: Denoiser,
    sampler: Sampler,
    noise: Tensor,
) -> Layout:
    """The layout that a request asks for; of a request without regions, one that does nothing."""
    height, width = noise.shape[-2:]
    regions = []
    for number, region in enumerate(params.regions):
        if region.mask:
            mask = painted(pictures[f"regions.{number}.mask"], height, width)
        else:
            mask = box(region, height, width, traits.px_per_latent)
        embeddings = encode_prompt(region.prompt, region.negative_prompt)
        regions.append(Region(mask.to(noise), embeddings))

    def plain_windows() -> Tensor:
        return encode(vae, plain_pictures(traits.window_px)).to(noise)

    return Layout(regions, denoiser, Backdrop(plain_windows, noise, sampler), params.steps)
