"""Algorithm 1 of SyncDiffusion (arXiv 2306.05178), word for word: slow, one window at a time.

The measure of exactness for core.diffusion. It shares no code with it: formulas are written out
from the paper (and from DDIM, arXiv 2010.02502), latents are cut and averaged by plain loops.
Only the networks themselves are the same, the perceptual one included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.core.gaussian import apply, denoiser

PerceptualDistance = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Algorithm1:
    unet: Any
    vae: Any
    scheduler: Any  # its noise schedule and its timesteps only
    perceptual: PerceptualDistance
    text: Tensor  # (1, tokens, channels)
    no_text: Tensor
    guidance_scale: float
    gaussian: bool = False  # `sync.gradient`

    def model_output(self, z: Tensor, t: int) -> Tensor:
        texts = torch.cat([self.no_text, self.text])
        both = self.unet(torch.cat([z, z]), t, encoder_hidden_states=texts).sample
        without, with_text = both.chunk(2)  # in one batch, as the authors' code has them
        output: Tensor = without + self.guidance_scale * (with_text - without)
        return output

    def original_and_noise(self, z: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """x0 (Eq. 10) and epsilon; for v-prediction through v = sqrt(a) eps - sqrt(1 - a) x0."""
        a = self.scheduler.alphas_cumprod[t]
        output = self.model_output(z, t)
        if self.scheduler.config.prediction_type == "epsilon":
            return (z - (1 - a).sqrt() * output) / a.sqrt(), output
        return a.sqrt() * z - (1 - a).sqrt() * output, a.sqrt() * output + (1 - a).sqrt() * z

    def picture(self, z: Tensor, t: int) -> Tensor:
        """D(x0): decoded, clamped to [0, 1], and brought to the perceptual network's [-1, 1]."""
        return self.decoded(self.original_and_noise(z, t)[0])

    def decoded(self, original: Tensor) -> Tensor:
        decoded = self.vae.decode(original / self.vae.config.scaling_factor).sample
        image: Tensor = (decoded / 2 + 0.5).clamp(0, 1)
        return 2 * image - 1

    def gradient(self, z: Tensor, t: int, target: Tensor) -> Tensor:
        """Of L; with `gaussian` by the chain rule, phi's Jacobian replaced by a matrix."""
        if not self.gaussian:
            return torch.autograd.grad(self.perceptual(self.picture(z, t), target).sum(), z)[0]
        with torch.no_grad():
            original, _ = self.original_and_noise(z, t)
        original.requires_grad_()
        loss = self.perceptual(self.decoded(original), target).sum()
        (gradient,) = torch.autograd.grad(loss, original)
        jacobian = denoiser(z.shape[-1], float(self.scheduler.alphas_cumprod[t]))
        return apply(jacobian.T, gradient)

    def ddim(self, z: Tensor, t: int, steps: int) -> Tensor:
        original, noise = self.original_and_noise(z, t)
        before = t - self.scheduler.config.num_train_timesteps // steps
        a = (
            self.scheduler.alphas_cumprod[before]
            if before >= 0
            else self.scheduler.final_alpha_cumprod
        )
        earlier: Tensor = a.sqrt() * original + (1 - a).sqrt() * noise
        return earlier

    def run(
        self,
        z: Tensor,
        *,
        steps: int,
        window: int,
        stride: int,
        anchor: tuple[int, int],  # row, column
        weight: float,
        decay: float = 1.0,
        sync_steps: int | None = None,
        every: int = 1,
        given: Tensor | None = None,  # the clean latents of a picture in the anchor's place
    ) -> Tensor:
        height, width = z.shape[-2:]
        views = [
            (row * stride, column * stride)
            for row in range((height - window) // stride + 1)
            for column in range((width - window) // stride + 1)
        ]
        anchor_corner = (anchor[0] * stride, anchor[1] * stride)
        top, left = anchor_corner
        first_noise = z[:, :, top : top + window, left : left + window]
        self.scheduler.set_timesteps(steps)

        for i, timestep in enumerate(self.scheduler.timesteps):
            t = int(timestep)
            synchronised = (i + 1) % every == 0 and (sync_steps is None or i < sync_steps)
            total, count = torch.zeros_like(z), torch.zeros_like(z)
            if synchronised:
                top, left = anchor_corner
                anchor_z = z[:, :, top : top + window, left : left + window]
                if given is not None:
                    a = self.scheduler.alphas_cumprod[t]
                    anchor_z = a.sqrt() * given + (1 - a).sqrt() * first_noise
                with torch.no_grad():
                    target = self.picture(anchor_z, t)
            for top, left in views:
                z_v = z[:, :, top : top + window, left : left + window].clone()
                if synchronised and (given is not None or (top, left) != anchor_corner):
                    gradient = self.gradient(z_v.requires_grad_(), t, target)
                    z_v = (z_v - weight * decay**i * gradient).detach()
                with torch.no_grad():
                    stepped = self.ddim(z_v, t, steps)
                total[:, :, top : top + window, left : left + window] += stepped
                count[:, :, top : top + window, left : left + window] += 1
            z = total / count
        return z


def run_algorithm_1(
    pipeline: Any, params: Any, z: Tensor, embeddings: Any, given: Tensor | None = None
) -> Tensor:
    """The pipeline's own networks and resolved parameters, in the paper's words.

    `given`: a picture in the anchor's place (1, 3, H, W), as large as a window.
    """
    if given is not None:
        with torch.no_grad():
            encoded = pipeline.vae.encode(given).latent_dist.mode().float()  # as pictures are kept
        given = (encoded * pipeline.vae.config.scaling_factor).to(z)
    traits = pipeline.traits
    columns = (params.width - traits.window_px) // params.stride + 1
    algorithm = Algorithm1(
        pipeline.unet,
        pipeline.vae,
        pipeline.scheduler,
        pipeline.perceptual,
        embeddings.conditional.tokens,
        embeddings.unconditional.tokens,
        params.guidance_scale,
        gaussian=params.sync.gradient == "gaussian",
    )
    return algorithm.run(
        z,
        steps=params.steps,
        window=traits.window_px // traits.px_per_latent,
        stride=params.stride // traits.px_per_latent,
        anchor=divmod(params.sync.anchor, columns),
        weight=params.sync.weight,
        decay=params.sync.decay,
        sync_steps=params.sync.steps,
        every=params.sync.every,
        given=given,
    )
