"""A picture that stays as it is while a panorama grows around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.diffusion.decode import encode
from core.diffusion.sampler import Sampler, Step
from core.params import ResolvedParams
from core.traits import CheckpointTraits


class Kept:
    """Known latents in their place: noised to each step, and clean at the end.

    The windows see them at every step as they would be, had they been made here.
    """

    def __init__(
        self, latents: Tensor, top: int, left: int, noise: Tensor, sampler: Sampler
    ) -> None:
        """`latents` (1, C, h, w) at (top, left) of a canvas; `noise`: the canvas's first."""
        self._latents = latents
        self._place = (
            ...,
            slice(top, top + latents.shape[-2]),
            slice(left, left + latents.shape[-1]),
        )
        self._noise = noise[self._place]
        self._sampler = sampler

    def impose(self, canvas: Tensor, step: Step) -> Tensor:
        """The canvas (1, C, H, W) with the known latents as they are at a step."""
        return self._put(canvas, self._sampler.noised(self._latents, self._noise, step))

    def finish(self, canvas: Tensor) -> Tensor:
        """The clean canvas with the known latents as they came."""
        return self._put(canvas, self._latents)

    def _put(self, canvas: Tensor, latents: Tensor) -> Tensor:
        imposed = torch.clone(canvas)
        imposed[self._place] = latents
        return imposed


def keep(
    params: ResolvedParams,
    traits: CheckpointTraits,
    pictures: Mapping[str, Tensor],
    vae: Any,
    sampler: Sampler,
    noise: Tensor,
) -> Kept:
    """What a request asks to keep; where it brings no picture to extend, a picture of no width."""
    if params.extend is None:
        return Kept(noise[..., :0], 0, 0, noise, sampler)
    latents = encode(vae, pictures["extend.image"]).to(noise)
    top, left = params.extend.y // traits.px_per_latent, params.extend.x // traits.px_per_latent
    return Kept(latents, top, left, noise, sampler)
