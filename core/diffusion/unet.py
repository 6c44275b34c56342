"""The UNet of Stable Diffusion as a `Network`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from panoweave.core.diffusion.guidance import Network, UnderTexts
from panoweave.core.diffusion.perturbed_attention import with_perturbed_attention
from panoweave.core.diffusion.prompts import TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.shared_front import has_front, pass_front, pass_rest
from panoweave.core.diffusion.views import View


class UNet(Network):
    """A UNet2DConditionModel. See `guidance.Network`."""

    def __init__(self, unet: Any, guidance_scale: float) -> None:
        self._unet = unet
        self._guidance_scale = guidance_scale
        self._guidance = _guidance_embedding(unet, guidance_scale)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self._unet.dtype
        return dtype

    @property
    def embeds_guidance(self) -> bool:
        return self._guidance is not None

    @cached_property
    def perturbed(self) -> UNet:
        return UNet(with_perturbed_attention(self._unet), self._guidance_scale)

    def __call__(
        self,
        latents: Tensor,
        step: Step,
        _views: Sequence[View],
        text: TextEmbedding,
        residuals: Mapping[str, Any] = MappingProxyType({}),
    ) -> Tensor:
        """`residuals`: what a ControlNet adds inside the UNet, as its keyword arguments."""
        guidance = None if self._guidance is None else self._guidance.expand(len(latents), -1)
        output: Tensor = self._unet(
            latents.to(self.dtype),
            step.t,
            **text.to(self.dtype).as_arguments(),
            **residuals,
            timestep_cond=guidance,
            return_dict=False,
        )[0]
        return output.to(latents.dtype)

    def begin(self, latents: Tensor, step: Step, views: Sequence[View]) -> UnderTexts:
        if not has_front(self._unet, latents.shape[-1]):
            return super().begin(latents, step, views)
        front = pass_front(self._unet, latents.to(self.dtype), step.t)

        def outputs(texts: TextEmbedding, *, perturbed: bool = False) -> Tensor:
            unet = self.perturbed._unet if perturbed else self._unet
            times = len(texts.tokens) // len(latents)
            tokens = texts.tokens.to(self.dtype)
            return pass_rest(unet, front.repeated(times), tokens).to(latents.dtype)

        return outputs


def _guidance_embedding(unet: Any, guidance_scale: float) -> Tensor | None:
    """g (1, channels), as latent consistency models (arXiv 2310.04378) take it; else None."""
    channels = unet.config.time_cond_proj_dim
    if channels is None:
        return None
    scale = torch.tensor([(guidance_scale - 1) * 1_000.0])
    embedding: Tensor = get_timestep_embedding(scale, channels, downscale_freq_shift=1)
    return embedding.to(unet.device, unet.dtype)
