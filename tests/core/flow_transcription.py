"""Algorithm 1 of SyncDiffusion (arXiv 2306.05178) on a flow-matching model, word for word.

As `transcription`, which has it for models that predict noise: slow, one window at a time, and it
shares no code with core.diffusion. Latents are the model's own, z_s = (1 - s) x0 + s e. Only
line 7, the move, is made in variance-preserving latents x = z / sqrt((1 - s)^2 + s^2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class FlowAlgorithm1:
    velocity: Callable[[Tensor, Tensor], Tensor]  # v(z, t), under guidance
    vae: Any
    scheduler: Any  # its noise levels and timesteps only, already set
    perceptual: Callable[[Tensor, Tensor], Tensor]

    def picture(self, z: Tensor, s: float, t: Tensor) -> Tensor:
        """D(x0), where x0 = z - s v: decoded, clamped to [0, 1], brought to [-1, 1]."""
        original = z - s * self.velocity(z, t)
        config = self.vae.config
        decoded = self.vae.decode(original / config.scaling_factor + config.shift_factor).sample
        image: Tensor = (decoded / 2 + 0.5).clamp(0, 1)
        return 2 * image - 1

    def run(
        self,
        z: Tensor,
        *,
        window: int,
        stride: int,
        anchor: tuple[int, int],  # row, column
        weight: float,
        decay: float,
        sync_steps: int,
        every: int,
    ) -> Tensor:
        height, width = z.shape[-2:]
        views = [
            (row * stride, column * stride)
            for row in range((height - window) // stride + 1)
            for column in range((width - window) // stride + 1)
        ]
        anchor_corner = (anchor[0] * stride, anchor[1] * stride)
        levels = [float(level) for level in self.scheduler.sigmas]

        for i, t in enumerate(self.scheduler.timesteps):
            s, following = levels[i], levels[i + 1]
            synchronised = (i + 1) % every == 0 and i < sync_steps
            total, count = torch.zeros_like(z), torch.zeros_like(z)
            if synchronised:
                top, left = anchor_corner
                with torch.no_grad():
                    target = self.picture(z[:, :, top : top + window, left : left + window], s, t)
            for top, left in views:
                z_v = z[:, :, top : top + window, left : left + window].clone()
                if synchronised and (top, left) != anchor_corner:
                    c = ((1 - s) ** 2 + s**2) ** 0.5
                    x_v = (z_v / c).requires_grad_()
                    loss = self.perceptual(self.picture(c * x_v, s, t), target).sum()
                    (gradient,) = torch.autograd.grad(loss, x_v)
                    z_v = c * (x_v - weight * decay**i * gradient).detach()
                with torch.no_grad():
                    stepped = z_v + (following - s) * self.velocity(z_v, t)
                total[:, :, top : top + window, left : left + window] += stepped
                count[:, :, top : top + window, left : left + window] += 1
            z = total / count
        return z
