"""What the families of flow-matching transformers have in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from panoweave.core.conditions import Control
from panoweave.core.diffusion.flow_matching import (
    FlowMatching,
    check_flow_scheduler,
    window_shift,
)
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.prompts import TextEmbedding
from panoweave.core.diffusion.scheduler_files import load_flow_scheduler
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import View
from panoweave.core.families import Family
from panoweave.core.params import ResolvedParams


class FlowTransformer(Network, ABC):
    """A transformer of diffusers as a `guidance.Network`."""

    embeds_guidance: ClassVar[bool] = False

    def __init__(self, transformer: Any, guidance_scale: float) -> None:
        self._transformer = transformer
        self._guidance_scale = guidance_scale

    @abstractmethod
    def __call__(
        self, latents: Tensor, step: Step, views: Sequence[View], text: TextEmbedding, /
    ) -> Tensor: ...


class FlowModel:
    """See `ModelFamily`. A transformer, an AutoencoderKL, and Euler's steps of flow matching."""

    about: ClassVar[Family]
    # Published in it; activations of such transformers, and of T5, overflow in float16.
    half_dtype: ClassVar[torch.dtype] = torch.bfloat16
    needs_upcast: ClassVar[bool] = False
    # diffusers' own pipeline, which encodes prompts and loads LoRA files.
    diffusers_class: ClassVar[Any]
    network_class: ClassVar[type[FlowTransformer]]
    # How the noise levels lie before they are shifted.
    adapter: ClassVar[type[FlowMatching]] = FlowMatching
    max_shift: ClassVar[float] = 1.15
    patch: ClassVar[int] = 2  # latents along a side of a token

    def load_scheduler(self, folder: Path) -> tuple[Any, str]:
        return load_flow_scheduler(folder)

    def check_scheduler(self, scheduler: Any) -> None:
        check_flow_scheduler(scheduler)

    def scheduler(
        self, pipeline: Any, params: ResolvedParams, device: torch.device
    ) -> SchedulerAdapter:
        tokens = (pipeline.traits.window_latents // self.patch) ** 2
        shift = window_shift(pipeline.scheduler, tokens, self.max_shift)
        return self.adapter(pipeline.scheduler, params.steps, device, shift=shift)

    def network(
        self,
        pipeline: Any,
        guidance_scale: float,
        _control: Control | None,
        _hint_image: Tensor | None,
        _loop: bool,
    ) -> Network:
        return self.network_class(pipeline.transformer, guidance_scale)

    def diffusers_pipeline(self, pipeline: Any) -> Any:
        return self.diffusers_class(**{name: getattr(pipeline, name) for name in self.about.parts})

    def lora_loader(self, pipeline: Any, _scheduler: Any) -> Any:
        return self.diffusers_pipeline(pipeline)


def log_no_prompts(diffusers_class: Any) -> None:
    """diffusers logs the end of a prompt that is too long; a worker's log must not have it."""
    logging.getLogger(diffusers_class.__module__).setLevel(logging.ERROR)


def t5_tokens(tokenizer: Any, most: int) -> int:
    """How many tokens T5 reads, the end included."""
    return min(most, int(tokenizer.model_max_length))
