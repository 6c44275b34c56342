"""What the pipeline asks of a family of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from panoweave.core.conditions import Control
from panoweave.core.diffusion.guidance import Network
from panoweave.core.diffusion.prompts import PromptEmbeddings, PromptReader
from panoweave.core.diffusion.schedulers import SchedulerAdapter
from panoweave.core.families import Family
from panoweave.core.params import ResolvedParams


class ModelFamily(Protocol):
    """How checkpoints of one kind are prompted and called.

    A family keeps nothing: `pipeline` holds the networks, by their names in diffusers.
    """

    @property
    def about(self) -> Family:
        """Its row in the table of families."""
        ...

    @property
    def half_dtype(self) -> torch.dtype:
        """The half precision that its networks compute in without overflowing."""
        ...

    @property
    def needs_upcast(self) -> bool:
        """Whether an autoencoder that says `force_upcast` overflows in float16."""
        ...

    def load_scheduler(self, folder: Path) -> tuple[Any, str]:
        """The default scheduler, and the class that the checkpoint names. Raises DiffusionError."""
        ...

    def check_scheduler(self, scheduler: Any) -> None:
        """Refuse, by name, one that cannot step this family's latents."""
        ...

    def prompt_reader(self, pipeline: Any) -> PromptReader: ...

    def scheduler(
        self, pipeline: Any, params: ResolvedParams, device: torch.device
    ) -> SchedulerAdapter: ...

    def encode_prompt(
        self, pipeline: Any, prompt: str, negative_prompt: str
    ) -> PromptEmbeddings: ...

    def network(
        self,
        pipeline: Any,
        guidance_scale: float,
        control: Control | None,
        hint_image: Tensor | None,
        loop: bool,
    ) -> Network:
        """The denoising network, with the pipeline's ControlNet where a request has `control`.

        `hint_image` (1, 3, H, W) in [-1, 1]: the image of the control, of the whole canvas.
        """
        ...

    def lora_loader(self, pipeline: Any, scheduler: Any) -> Any:
        """The pipeline of diffusers that loads LoRA files into the same networks."""
        ...
