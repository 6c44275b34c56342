"""A known image that stays as it is while a panorama grows around it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from panoweave.core.diffusion.errors import check_finite
from panoweave.core.diffusion.guidance import BatchedModel, take
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import WindowGrid


class KnownRegion:
    """Known latents in their place on the canvas.

    Before each step they replace what is there, noised to that step. That alone would leave visible
    edges, since what is beside the image would hardly depend on it. So reconstruction guidance
    moves windows that show a part of it towards predicting that part. Both: arXiv 2204.03458,
    Sec. 3.1.
    """

    def __init__(
        self, latents: Tensor, top: int, left: int, noise: Tensor, scheduler: SchedulerAdapter
    ) -> None:
        """`latents` (1, C, h, w) at (top, left) of the canvas; `noise` (1, C, H, W): its first."""
        self._latents = latents
        self._place = (
            ...,
            slice(top, top + latents.shape[-2]),
            slice(left, left + latents.shape[-1]),
        )
        self._noise = noise[self._place]
        self._known = self._put(torch.zeros_like(noise), latents)
        self._mask = self._put(torch.zeros_like(noise[:, :1]), torch.ones_like(latents[:, :1]))
        self._mask_on_host = self._mask.cpu()  # to choose windows without waiting for a GPU
        self._scheduler = scheduler

    def replace(self, canvas: Tensor, step: Step) -> Tensor:
        """The canvas (1, C, H, W) with the known latents, noised to the step."""
        return self._put(canvas, self._scheduler.add_noise(self._latents, self._noise, step))

    def restore(self, canvas: Tensor) -> Tensor:
        """The clean canvas (1, C, H, W) with the known latents as they were given."""
        return self._put(canvas, self._latents)

    def guide(self, windows: Tensor, grid: WindowGrid, step: Step, model: BatchedModel) -> Tensor:
        """The windows (N, C, S, S) of a grid, after reconstruction guidance.

        x_i <- x_i - a_t d/dx_i 1/2 |M (phi(x_i, t) - known)|^2, where M masks the known latents;
        in the paper it moves the predicted sample, here the window itself. Windows that show none
        of the image, or nothing else, stay as they are.
        """
        masks, known, views = grid.read(self._mask), grid.read(self._known), grid.views
        share = grid.read(self._mask_on_host).mean((1, 2, 3))
        touched = ((share > 0) & (share < 1)).nonzero().flatten().tolist()
        guided = windows.clone()
        gradients: list[tuple[Tensor, Sequence[int]]] = []
        for batch in model.split(touched):
            with torch.enable_grad():
                x = take(windows, batch).requires_grad_()
                output = model.predict_batch(x, step, [views[i] for i in batch])
                original = self._scheduler.pred_original_sample(x, step, output)
                missed = take(masks, batch) * (original - take(known, batch))
                error = missed.square().sum() / 2
                (gradient,) = torch.autograd.grad(error, x)
            gradients.append((gradient, batch))
            for i, change in zip(batch, step.alpha_cumprod * gradient, strict=True):
                guided[i] -= change
        check_finite(gradients, step.index)
        model.share(touched, guided)
        return guided

    def _put(self, canvas: Tensor, latents: Tensor) -> Tensor:
        replaced = torch.clone(canvas)
        replaced[self._place] = latents
        return replaced
