"""Where a panorama stands between two steps, and the bytes to carry it elsewhere.

Everything else that a step depends on follows from the request: windows from the step's number,
noise from the seed, the rest from prompts and pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from panoweave.core.diffusion.errors import UnfitStandingError

# To be raised with every change after which a panorama that was begun before would come out
# otherwise.
_FORMAT: Final = "1"

_LATENTS: Final = "latents"
_MEMORY: Final = "memory."


@dataclass(frozen=True)
class Standing:
    """What the steps to come depend on. Holds the pipeline's own tensors, which nobody changes."""

    step: int  # so many are done
    latents: Tensor  # (1, C, H/f, W/f), as merged at the end of the last one
    memory: Mapping[str, Tensor]  # what the sampler keeps from step to step

    @property
    def size_bytes(self) -> int:
        tensors = self.latents, *self.memory.values()
        return sum(tensor.nbytes for tensor in tensors)

    def to_bytes(self, label: Mapping[str, str]) -> bytes:
        """As safetensors, every tensor in its own dtype. `label`: what it will be known by."""
        named = {
            _LATENTS: self.latents,
            **{_MEMORY + name: tensor for name, tensor in self.memory.items()},
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
        told = {"format": _FORMAT, "step": str(self.step), **label}
        return save(tensors, {**told, "sha256": _digest(tensors, self.step)})

    @classmethod
    def from_bytes(cls, data: bytes, label: Mapping[str, str]) -> Self:
        """Raises UnfitStandingError where the label is another one, or the bytes are broken."""
        try:
            told = _metadata(data)
            tensors = load(data)
            step, latents = int(told["step"]), tensors[_LATENTS]
            is_whole = told["sha256"] == _digest(tensors, step)
        except (SafetensorError, ValueError, LookupError, TypeError) as error:
            raise UnfitStandingError(f"it cannot be read: {type(error).__name__}") from error
        if not is_whole:
            raise UnfitStandingError("its checksum is wrong")
        for name, expected in {"format": _FORMAT, **label}.items():
            if told.get(name) != expected:
                raise UnfitStandingError(f"its {name} is another")
        memory = {
            name.removeprefix(_MEMORY): tensor
            for name, tensor in tensors.items()
            if name.startswith(_MEMORY)
        }
        return cls(step, latents, memory)


def _metadata(data: bytes) -> dict[str, str]:
    """Of safetensors in memory, whose library reads metadata only from files."""
    length = int.from_bytes(data[:8], "little")
    told: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return told


def _digest(tensors: Mapping[str, Tensor], step: int) -> str:
    digest = hashlib.sha256(str(step).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f" {name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
