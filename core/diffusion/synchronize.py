"""SyncDiffusion (arXiv 2306.05178), Algorithm 1: windows descend towards the anchor's look.

Paper -> code: w -> SyncParams.weight, z_v -> windows, phi_theta -> Denoiser.foresee,
D -> decode, L -> perceptual.distance, I_0 -> target.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.diffusion.decode import decode
from core.diffusion.denoise import Denoiser, in_batches
from core.diffusion.errors import NonFiniteGradientError, PerceptualWeightsError
from core.diffusion.perceptual import Embedding, PerceptualLoss, distance
from core.params import ResolvedSync


def weight_at(sync: ResolvedSync, step: int) -> float:
    """w_i = w * decay^i at step i (from 0); 0 where the step is not synchronised."""
    synchronises = step < sync.steps and (step + 1) % sync.every == 0
    return sync.weight * sync.decay**step if synchronises else 0.0


class Synchronizer:
    """Gradient descent of windows on the perceptual distance to the anchor's foreseen picture."""

    def __init__(
        self, denoiser: Denoiser, vae: Any, perceptual: PerceptualLoss | None, sync: ResolvedSync
    ) -> None:
        if perceptual is None and sync.weight and sync.steps:
            raise PerceptualWeightsError(
                "sync.weight is above 0 but the pipeline has no perceptual network: "
                'set pipeline.perceptual = load_perceptual("stlpips-alex")'
            )
        self._denoiser = denoiser
        self._vae = vae
        self._perceptual = perceptual
        self._sync = sync

    def synchronize(
        self, windows: Tensor, t: Tensor, step: int
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Pull all windows (N, C, S, S) but the anchor towards the anchor: Algorithm 1, l. 3-8.

        Returns the windows and, by index, the predictions that are known now: the anchor stays
        where it is, so its prediction serves the denoising step as well.
        """
        weight = weight_at(self._sync, step)
        anchor = self._sync.anchor
        others = [index for index in range(len(windows)) if index != anchor]
        if not weight or not others:
            return windows, {}
        prediction = self._denoiser.predict(windows[[anchor]], t)
        target = self._look(windows[[anchor]], t, prediction)
        pulled = windows.clone()
        for batch in in_batches(others, self._denoiser.window_batch):
            gradient = self._gradient(windows[batch], t, target)
            _check_finite(gradient, batch, step)
            pulled[batch] -= weight * gradient
        return pulled, {anchor: prediction[0]}

    def _gradient(self, windows: Tensor, t: Tensor, target: Embedding) -> Tensor:
        """d/dz_v L(D(x0(z_v, t)), I_0), line 7, for windows (N, C, S, S).

        Through the perceptual network, the clamp, the decoder, the guidance and the UNet.
        """
        with torch.enable_grad():
            z = windows.detach().requires_grad_()
            embedding = self._look(z, t, self._denoiser.predict(z, t))
            # Windows do not see one another, so the gradient of the sum is each window's own.
            loss = distance(embedding, target).sum()
            (gradient,) = torch.autograd.grad(loss, z)
        return gradient

    def _look(self, windows: Tensor, t: Tensor, prediction: Tensor) -> Embedding:
        assert self._perceptual is not None  # the constructor's promise where weight > 0
        foreseen = self._denoiser.foresee(windows, t, prediction)
        return self._perceptual.embed(decode(self._vae, foreseen))


def _check_finite(gradient: Tensor, indices: list[int], step: int) -> None:
    finite = gradient.isfinite().flatten(1).all(1).tolist()
    broken = [index for index, fine in zip(indices, finite, strict=True) if not fine]
    if broken:
        raise NonFiniteGradientError(broken, step)
