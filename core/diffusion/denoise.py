"""The denoising network as the sampler sees it: classifier-free guidance, predictions, steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from core.diffusion.errors import UnsupportedSchedulerError

# Schedulers whose step reads nothing but its arguments, so that windows may share one.
SUPPORTED_SCHEDULERS: Final = (DDIMScheduler,)


def check_scheduler(scheduler: Any) -> None:
    """Refuse, by name, a scheduler that keeps state per trajectory."""
    if type(scheduler) not in SUPPORTED_SCHEDULERS:
        supported = [kind.__name__ for kind in SUPPORTED_SCHEDULERS]
        raise UnsupportedSchedulerError(type(scheduler).__name__, supported)


@dataclass(frozen=True)
class PromptEmbeddings:
    """Text embeddings (1, tokens, channels) of the prompt and of the negative prompt."""

    conditional: Tensor
    unconditional: Tensor


def in_batches(indices: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


class Denoiser:
    """A UNet under one prompt, with a scheduler.

    Whatever the UNet runs in, its output comes in the dtype of the latents (float32).
    """

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        embeddings: PromptEmbeddings,
        guidance_scale: float,
        window_batch: int,
    ) -> None:
        """`window_batch`: how many windows `predict_all` and its like send through at once."""
        if window_batch < 1:
            raise ValueError(f"window_batch is {window_batch}; legal: 1 or more")
        check_scheduler(scheduler)
        self.window_batch = window_batch
        self._unet = unet
        self._scheduler = scheduler
        self._embeddings = embeddings
        self._guidance_scale = guidance_scale

    def predict(
        self, windows: Tensor, t: Tensor, embeddings: PromptEmbeddings | None = None
    ) -> Tensor:
        """The guided model output (N, C, S, S) at timestep t, under the prompt or another one.

        eps_u + g (eps_c - eps_u), arXiv 2207.12598, Eq. 6; the velocity in place of eps for a
        v-prediction model. Differentiable with respect to `windows`.
        """
        embeddings = embeddings or self._embeddings
        count = windows.shape[0]
        conditional = embeddings.conditional.expand(count, -1, -1)
        if self._guidance_scale == 1:
            return self._call(windows, t, conditional)
        unconditional = embeddings.unconditional.expand(count, -1, -1)
        both = self._call(torch.cat([windows, windows]), t, torch.cat([unconditional, conditional]))
        without, with_prompt = both.chunk(2)
        return without + self._guidance_scale * (with_prompt - without)

    def predict_all(self, windows: Tensor, t: Tensor, known: dict[int, Tensor]) -> Tensor:
        """The guided output for every window, in batches; `known` holds those made already."""
        predictions = torch.empty_like(windows)
        for index, prediction in known.items():
            predictions[index] = prediction
        unknown = [index for index in range(len(windows)) if index not in known]
        for batch in in_batches(unknown, self.window_batch):
            predictions[batch] = self.predict(windows[batch], t)
        return predictions

    def foresee(self, windows: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        """The predicted original sample x0(z_t), SyncDiffusion Eq. 10, as the scheduler has it."""
        original: Tensor = self._scheduler.step(prediction, t, windows).pred_original_sample
        return original

    def step(self, windows: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        """One reverse step z_t -> z_(t-1) (arXiv 2010.02502, Eq. 12, eta = 0)."""
        previous: Tensor = self._scheduler.step(prediction, t, windows).prev_sample
        return previous

    def noised(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Clean latents (N, C, S, S) as they are at timestep t: arXiv 2006.11239, Eq. 4."""
        times = t.expand(len(latents))
        noisy: Tensor = self._scheduler.add_noise(latents, noise, times)
        return noisy

    def _call(self, windows: Tensor, t: Tensor, embeddings: Tensor) -> Tensor:
        dtype = self._unet.dtype
        output: Tensor = self._unet(
            windows.to(dtype), t, encoder_hidden_states=embeddings.to(dtype), return_dict=False
        )[0]
        return output.to(windows.dtype)
