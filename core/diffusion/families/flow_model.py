"""What the families of flow-matching transformers have in common."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits
from panoweave.core.conditions import Control
from panoweave.core.diffusion.checkpoint_parts import PartKinds
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.flow_matching import (
    FlowMatching,
    check_flow_scheduler,
    window_shift,
)
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.scheduler_files import load_flow_scheduler
from panoweave.core.diffusion.schedulers import SchedulerAdapter
from panoweave.core.families import Family
from panoweave.core.params import ResolvedParams


class FlowModel:
    """See `ModelFamily`. A transformer, an AutoencoderKL, and Euler's steps of flow matching."""

    about: ClassVar[Family]
    parts: ClassVar[PartKinds]
    # Published in it; activations of such transformers, and of T5, overflow in float16.
    half_dtype: ClassVar[torch.dtype] = torch.bfloat16
    needs_upcast: ClassVar[bool] = False
    # diffusers' own pipeline, which encodes prompts and loads LoRA files.
    diffusers_class: ClassVar[Any]
    # How the noise levels lie before they are shifted.
    adapter: ClassVar[type[FlowMatching]] = FlowMatching
    max_shift: ClassVar[float] = 1.15
    patch: ClassVar[int] = 2  # latents along a side of a token
    guidance_scale: ClassVar[float]  # the makers' default

    def load_scheduler(self, folder: Path) -> tuple[Any, str]:
        scheduler = load_flow_scheduler(folder)
        return scheduler, type(scheduler).__name__

    def fill_defaults(
        self, defaults: CheckpointDefaults, _scheduler: str, pipeline: Any
    ) -> CheckpointDefaults:
        usual = self.usual_defaults(pipeline)
        return usual.model_copy(update=defaults.model_dump(exclude_unset=True))

    def usual_defaults(self, _pipeline: Any) -> CheckpointDefaults:
        """For a checkpoint without a `panoweave.json`."""
        return CheckpointDefaults(
            scheduler=self.about.schedulers[0], guidance_scale=self.guidance_scale
        )

    def check(self, pipeline: Any) -> None:
        check_flow_scheduler(pipeline.scheduler)
        for name in self.parts.needed:
            if getattr(pipeline, name) is None:
                raise CheckpointError(f"the checkpoint has no {name}; legal: one with all parts")
        channels = self.latent_channels(pipeline)
        latent_channels = pipeline.vae.config.latent_channels
        if any(each != latent_channels for each in channels):
            raise CheckpointError(
                f"the transformer takes latents of {channels[0]} channels and gives {channels[1]}, "
                f"the autoencoder's have {latent_channels}; legal: text-to-image checkpoints, "
                "where all are equal"
            )
        for expected, found, what in self.widths(pipeline):
            if expected != found:
                raise CheckpointError(
                    f"transformer.config.{what} is {expected}, the text encoders give {found}; "
                    "use parts that belong together"
                )

    def latent_channels(self, pipeline: Any) -> tuple[int, int]:
        """Of the latents that the transformer takes and gives."""
        config = pipeline.transformer.config
        return config.in_channels, config.in_channels

    def widths(self, pipeline: Any) -> list[tuple[int, int, str]]:
        """The channels of text that the transformer takes and is given, with the setting's name."""
        raise NotImplementedError

    def window_latents(self, pipeline: Any) -> int:
        raise NotImplementedError

    def read_traits(self, pipeline: Any) -> CheckpointTraits:
        px_per_latent = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        window = self.window_latents(pipeline)
        if window % self.patch:
            raise CheckpointError(
                f"its windows are {window} latents wide; legal: multiples of {self.patch}"
            )
        return CheckpointTraits(
            window_px=window * px_per_latent,
            px_per_latent=px_per_latent,
            family=self.about.name,
            defaults=self.usual_defaults(pipeline),
        )

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
        control: Control | None,
        hint_image: Tensor | None,
        loop: bool,
    ) -> Network:
        raise NotImplementedError

    def diffusers_pipeline(self, pipeline: Any) -> Any:
        return self.diffusers_class(**pipeline.components)

    def lora_loader(self, pipeline: Any, scheduler: Any) -> Any:
        raise NotImplementedError


def log_no_prompts(diffusers_class: Any) -> None:
    """diffusers logs the end of a prompt that is too long; a worker's log must not have it."""
    logging.getLogger(diffusers_class.__module__).setLevel(logging.ERROR)
