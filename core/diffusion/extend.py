"""A picture that stays as it is while a panorama grows around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.diffusion.decode import encode
from panoweave.core.diffusion.denoise import Denoiser, in_batches
from panoweave.core.diffusion.errors import check_finite
from panoweave.core.diffusion.schedulers import Sampler, Step
from panoweave.core.diffusion.views import WindowGrid
from panoweave.core.params import ResolvedParams


class Kept:
    """Known latents in their place: noised to each step, and clean at the end.

    The windows see them at every step as they would be, had they been made here. That alone would
    leave an edge: what is beside the picture would hardly learn of it. So windows that hold a part
    of it are moved, all of them, towards foreseeing that part as it is.
    """

    def __init__(
        self,
        latents: Tensor,
        top: int,
        left: int,
        noise: Tensor,
        sampler: Sampler,
        denoiser: Denoiser,
    ) -> None:
        """`latents` (1, C, h, w) at (top, left) of a canvas; `noise`: the canvas's first."""
        self._latents = latents
        self._place = (
            ...,
            slice(top, top + latents.shape[-2]),
            slice(left, left + latents.shape[-1]),
        )
        self._noise = noise[self._place]
        self._known = self._put(torch.zeros_like(noise), latents)
        self._mask = self._put(torch.zeros_like(noise[:, :1]), torch.ones_like(latents[:, :1]))
        self._sampler = sampler
        self._denoiser = denoiser

    def impose(self, canvas: Tensor, step: Step) -> Tensor:
        """The canvas (1, C, H, W) with the known latents as they are at a step."""
        return self._put(canvas, self._sampler.noised(self._latents, self._noise, step))

    def guide(self, windows: Tensor, grid: WindowGrid, step: Step) -> Tensor:
        """Windows (N, C, S, S) of a grid, those moved that hold a part of the picture and more.

        z_v <- z_v - a_t d/dz_v 1/2 |M (x0(z_v, t) - known)|^2: reconstruction guidance
        (arXiv 2204.03458, Sec. 3.1), there of the foreseen sample, here of the window itself.
        """
        if not self._latents.numel():
            return windows
        masks, known = grid.read(self._mask), grid.read(self._known)
        held = masks.mean((1, 2, 3))
        touched = ((held > 0) & (held < 1)).nonzero().flatten().tolist()
        guided = windows.clone()
        for batch in in_batches(touched, self._denoiser.window_batch):
            corners = [grid.corners[index] for index in batch]
            with torch.enable_grad():
                z = windows[batch].detach().requires_grad_()
                foreseen = self._sampler.foresee(z, step, self._denoiser.predict(z, corners, step))
                error = (masks[batch] * (foreseen - known[batch])).square().sum() / 2
                (gradient,) = torch.autograd.grad(error, z)
            check_finite(gradient, batch, step.index)
            guided[batch] -= step.alpha * gradient
        return guided

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
    noise: Tensor,
    sampler: Sampler,
    denoiser: Denoiser,
) -> Kept:
    """What a request asks to keep; where it brings no picture to extend, a picture of no width."""
    if params.extend is None:
        return Kept(noise[..., :0], 0, 0, noise, sampler, denoiser)
    latents = encode(vae, pictures["extend.image"]).to(noise)
    top, left = params.extend.y // traits.px_per_latent, params.extend.x // traits.px_per_latent
    return Kept(latents, top, left, noise, sampler, denoiser)
