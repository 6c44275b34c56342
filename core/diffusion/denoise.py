"""The denoising network as the sampler sees it: predictions under classifier-free guidance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.diffusion.sampler import Step


@dataclass(frozen=True)
class PromptEmbeddings:
    """Text embeddings (1, tokens, channels) of the prompt and of the negative prompt."""

    conditional: Tensor
    unconditional: Tensor


def in_batches(indices: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


class Denoiser:
    """A UNet under one prompt.

    Whatever the UNet runs in, its output comes in the dtype of the latents (float32).
    """

    def __init__(
        self,
        unet: Any,
        embeddings: PromptEmbeddings,
        guidance_scale: float,
        window_batch: int,
    ) -> None:
        """`window_batch`: how many windows `predict_all` and its like send through at once."""
        if window_batch < 1:
            raise ValueError(f"window_batch is {window_batch}; legal: 1 or more")
        self.window_batch = window_batch
        self._unet = unet
        self._embeddings = embeddings
        self._guidance_scale = guidance_scale

    def predict(
        self, windows: Tensor, step: Step, embeddings: PromptEmbeddings | None = None
    ) -> Tensor:
        """The guided model output (N, C, S, S) at a step, under the prompt or another one.

        eps_u + g (eps_c - eps_u), arXiv 2207.12598, Eq. 6; the velocity in place of eps for a
        v-prediction model. Differentiable with respect to `windows`.
        """
        embeddings = embeddings or self._embeddings
        count = windows.shape[0]
        conditional = embeddings.conditional.expand(count, -1, -1)
        if self._guidance_scale == 1:
            return self._call(windows, step, conditional)
        unconditional = embeddings.unconditional.expand(count, -1, -1)
        both = self._call(
            torch.cat([windows, windows]), step, torch.cat([unconditional, conditional])
        )
        without, with_prompt = both.chunk(2)
        return without + self._guidance_scale * (with_prompt - without)

    def predict_all(self, windows: Tensor, step: Step, known: dict[int, Tensor]) -> Tensor:
        """The guided output for every window, in batches; `known` holds those made already."""
        predictions = torch.empty_like(windows)
        for index, prediction in known.items():
            predictions[index] = prediction
        unknown = [index for index in range(len(windows)) if index not in known]
        for batch in in_batches(unknown, self.window_batch):
            predictions[batch] = self.predict(windows[batch], step)
        return predictions

    def _call(self, windows: Tensor, step: Step, embeddings: Tensor) -> Tensor:
        dtype = self._unet.dtype
        output: Tensor = self._unet(
            windows.to(dtype), step.t, encoder_hidden_states=embeddings.to(dtype), return_dict=False
        )[0]
        return output.to(windows.dtype)
