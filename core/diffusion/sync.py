"""SyncDiffusion (arXiv 2306.05178), Algorithm 1: windows descend towards the anchor's look.

Paper -> code: w -> SyncParams.weight, z_v -> windows, phi_theta -> Sampler.foresee,
D -> decode, L -> perceptual.distance, I_0 -> target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from panoweave.core.diffusion.decode import decode
from panoweave.core.diffusion.denoise import Denoiser, in_batches
from panoweave.core.diffusion.errors import PerceptualWeightsError, check_finite
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss, distance
from panoweave.core.diffusion.schedulers import Sampler, Step
from panoweave.core.diffusion.views import Anchor, Corner, WindowGrid
from panoweave.core.params import ResolvedSync

# The loss is a mean over all pixels, so a pixel's share of the gradient lies below the least
# number of float16. A power of two: scaling and unscaling round nothing in other dtypes.
_LOSS_SCALE: Final = 2.0**12


@dataclass(frozen=True)
class PictureAnchor:
    """A picture that all windows follow, the same at every step."""

    embedding: Embedding
    index: None = None  # it is none of the windows

    @classmethod
    def of(
        cls, picture: Tensor, perceptual: PerceptualLoss, decoder: Any, window: Tensor
    ) -> PictureAnchor:
        """Embed a picture (1, 3, H, W) in [-1, 1] at the size in which windows are compared.

        `window`: any latents (1, C, S, S) of a window.
        """
        size = decode(decoder, window).shape[-2:]
        return cls(perceptual.embed(_cover(picture, *size)))


def _cover(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture (1, 3, H, W) scaled to cover this size, and cut evenly where it sticks out."""
    scale = max(height / picture.shape[-2], width / picture.shape[-1])
    tall, wide = (
        max(round(side * scale), least)
        for side, least in zip(picture.shape[-2:], (height, width), strict=True)
    )
    scaled = interpolate(picture, (tall, wide), mode="bilinear", antialias=True)
    top, left = (tall - height) // 2, (wide - width) // 2
    return scaled[..., top : top + height, left : left + width]


def weight_at(sync: ResolvedSync, step: int) -> float:
    """w_i = w * decay^i at step i (from 0); 0 where the step is not synchronised."""
    synchronises = step < sync.steps and (step + 1) % sync.every == 0
    return sync.weight * sync.decay**step if synchronises else 0.0


class Synchronizer:
    """Gradient descent of windows on the perceptual distance to the anchor's foreseen picture."""

    def __init__(
        self,
        denoiser: Denoiser,
        sampler: Sampler,
        decoder: Any,
        perceptual: PerceptualLoss | None,
        sync: ResolvedSync,
    ) -> None:
        """`decoder`: what windows are compared through, the checkpoint's own or a tiny one."""
        if perceptual is None and sync.weight and sync.steps:
            raise PerceptualWeightsError(
                "sync.weight is above 0 but the pipeline has no perceptual network: "
                'set pipeline.perceptual = load_perceptual("stlpips-alex")'
            )
        self._denoiser = denoiser
        self._sampler = sampler
        self._decoder = decoder
        self._perceptual = perceptual
        self._sync = sync

    def synchronize(
        self, windows: Tensor, grid: WindowGrid, anchor: Anchor | PictureAnchor, step: Step
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Pull a grid's windows (N, C, S, S) but the anchor towards it: Algorithm 1, l. 3-8.

        Returns the windows and, by index, the predictions that serve the denoising step as well:
        the anchor's, which stays where it is, and all others where `reuse_prediction` says so.
        """
        weight = weight_at(self._sync, step.index)
        others = [index for index in range(len(windows)) if index != anchor.index]
        if not weight or not others:
            return windows, {}
        target, known = self._follow(anchor, step)
        pulled = windows.clone()
        for batch in in_batches(others, self._denoiser.window_batch):
            corners = [grid.corners[index] for index in batch]
            gradient, predictions = self._gradient(windows[batch], corners, step, target)
            check_finite(gradient, batch, step.index)
            pulled[batch] -= _shortened(weight * gradient, self._sync.max_move)
            if self._sync.reuse_prediction:
                known.update(zip(batch, predictions, strict=True))
        return pulled, known

    def _follow(
        self, anchor: Anchor | PictureAnchor, step: Step
    ) -> tuple[Embedding, dict[int, Tensor]]:
        """I_0, line 4: how the anchor is foreseen; and its prediction, where it is a window."""
        if isinstance(anchor, PictureAnchor):
            return anchor.embedding, {}
        prediction = self._denoiser.predict(anchor.window, [anchor.corner], step)
        known = {} if anchor.index is None else {anchor.index: prediction[0]}
        return self._look(anchor.window, step, prediction), known

    def _gradient(
        self, windows: Tensor, corners: Sequence[Corner], step: Step, target: Embedding
    ) -> tuple[Tensor, Tensor]:
        """d/dz_v L(D(x0(z_v, t)), I_0), line 7, for windows (N, C, S, S); the predictions too.

        Through the perceptual network, the clamp, the decoder, the guidance and the UNet.
        """
        with torch.enable_grad():
            z = windows.detach().requires_grad_()
            prediction = self._denoiser.predict(z, corners, step)
            embedding = self._look(z, step, prediction)
            # Windows do not see one another, so the gradient of the sum is each window's own.
            loss = distance(embedding, target).sum()
            (gradient,) = torch.autograd.grad(loss * _LOSS_SCALE, z)
        return gradient / _LOSS_SCALE, prediction.detach()

    def _look(self, windows: Tensor, step: Step, prediction: Tensor) -> Embedding:
        assert self._perceptual is not None  # the constructor's promise where weight > 0
        foreseen = self._sampler.foresee(windows, step, prediction)
        return self._perceptual.embed(decode(self._decoder, foreseen))


def _shortened(moves: Tensor, limit: float | None) -> Tensor:
    """Moves (N, C, S, S), those longer than the limit (root mean square) shortened to it.

    What lets the descent be steep: a window that is far from the anchor has a gradient many times
    the others', and would overshoot into colours that no picture has.
    """
    if limit is None:
        return moves
    length = moves.square().flatten(1).mean(1).sqrt()
    return moves * (limit / length.clamp(min=limit))[:, None, None, None]
