"""The denoising network as the sampler sees it: predictions under classifier-free guidance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from panoweave.core.diffusion.control import Control
from panoweave.core.diffusion.prompts import PromptEmbeddings, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import Corner


def in_batches(indices: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


class Denoiser:
    """A UNet under one prompt, and where there is one, a ControlNet's hint.

    Whatever the UNet runs in, its output comes in the dtype of the latents (float32).
    """

    def __init__(
        self,
        unet: Any,
        embeddings: PromptEmbeddings,
        guidance_scale: float,
        window_batch: int,
        control: Control | None = None,
    ) -> None:
        """`window_batch`: how many windows `predict_all` and its like send through at once."""
        if window_batch < 1:
            raise ValueError(f"window_batch is {window_batch}; legal: 1 or more")
        self.window_batch = window_batch
        self._unet = unet
        self._embeddings = embeddings
        self._guidance_scale = guidance_scale
        self._control = control
        self._guidance = _guidance_embedding(unet, guidance_scale)

    def predict(
        self,
        windows: Tensor,
        corners: Sequence[Corner],
        step: Step,
        embeddings: PromptEmbeddings | None = None,
    ) -> Tensor:
        """The guided model output (N, C, S, S) for windows at these corners of the canvas.

        eps_u + g (eps_c - eps_u), arXiv 2207.12598, Eq. 6, under the prompt or another one; the
        velocity in place of eps for a v-prediction model. A UNet that was distilled with its
        guidance (arXiv 2210.03142) is told g instead. Differentiable with respect to `windows`.
        """
        embeddings = embeddings or self._embeddings
        conditional = embeddings.conditional.repeated(len(windows))
        if self._guidance_scale == 1 or self._guidance is not None:
            return self._call(windows, corners, step, conditional)
        texts = embeddings.unconditional.repeated(len(windows)).beside(conditional)
        both = self._call(torch.cat([windows, windows]), [*corners, *corners], step, texts)
        without, with_prompt = both.chunk(2)
        return without + self._guidance_scale * (with_prompt - without)

    def predict_all(
        self, windows: Tensor, corners: Sequence[Corner], step: Step, known: dict[int, Tensor]
    ) -> Tensor:
        """The guided output for every window, in batches; `known` holds those made already."""
        predictions = torch.empty_like(windows)
        for index, prediction in known.items():
            predictions[index] = prediction
        unknown = [index for index in range(len(windows)) if index not in known]
        for batch in in_batches(unknown, self.window_batch):
            places = [corners[index] for index in batch]
            predictions[batch] = self.predict(windows[batch], places, step)
        return predictions

    def _call(
        self, windows: Tensor, corners: Sequence[Corner], step: Step, texts: TextEmbedding
    ) -> Tensor:
        latents, texts = windows.to(self._unet.dtype), texts.to(self._unet.dtype)
        told: dict[str, Any] = {
            "encoder_hidden_states": texts.tokens,
            "added_cond_kwargs": texts.added,
        }
        residuals = self._control.residuals(latents, corners, step, told) if self._control else {}
        guidance = None if self._guidance is None else self._guidance.expand(len(windows), -1)
        output: Tensor = self._unet(
            latents, step.t, **told, **residuals, timestep_cond=guidance, return_dict=False
        )[0]
        return output.to(windows.dtype)


def _guidance_embedding(unet: Any, guidance_scale: float) -> Tensor | None:
    """g (1, channels), as a latent consistency model (arXiv 2310.04378) takes it; else None."""
    channels = unet.config.time_cond_proj_dim
    if channels is None:
        return None
    scale = torch.tensor([(guidance_scale - 1) * 1_000.0])
    embedding: Tensor = get_timestep_embedding(scale, channels, downscale_freq_shift=1)
    return embedding.to(unet.device, unet.dtype)
