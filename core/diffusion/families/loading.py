"""Load the parts of a checkpoint of any family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from panoweave.core.diffusion.checkpoint_parts import load_parts
from panoweave.core.diffusion.families import family_named
from panoweave.core.model_files.index import read_index


@dataclass(frozen=True)
class LoadedParts:
    arguments: dict[str, Any]  # of the pipeline
    scheduler_class: str  # as the checkpoint names it


def load_components(folder: Path, dtype: torch.dtype | None) -> LoadedParts:
    """`dtype` None: half precision, as it suits the family. Raises DiffusionError."""
    about, index = read_index(folder)
    family = family_named(about)
    scheduler, named = family.load_scheduler(folder / "scheduler")
    parts = load_parts(about, folder, index, dtype or family.half_dtype)
    vae = parts["vae"]
    if family.needs_upcast and vae and vae.dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)
    settings = {name: index[name] for name in ("force_zeros_for_empty_prompt",) if name in index}
    return LoadedParts({**parts, "scheduler": scheduler, **settings}, named)
