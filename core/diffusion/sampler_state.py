"""The state of the sampler between two steps, and its bytes.

Everything else that a step depends on follows from the request: the windows from the step's
number, the noise from the seed, the rest from prompts and images.
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

from panoweave.core.diffusion.errors import InvalidSamplerStateError

# To be raised with every change after which a panorama that was begun before would come out
# differently.
_FORMAT: Final = "1"

# Names in the saved bytes. Savepoints of version 0.1.0 have them too.
_LATENTS: Final = "latents"
_GENERATOR: Final = "memory.generator"
_SCHEDULER: Final = "memory."


@dataclass(frozen=True)
class SamplerState:
    """All that the remaining steps depend on. Holds the pipeline's own tensors; do not change them.

    Passed to the pipeline as `resume`, sampling goes on from here with equal bits.
    """

    step: int  # how many steps are done
    latents: Tensor  # (1, C, H/f, W/f), the merged canvas after the last of them
    scheduler_state: Mapping[str, Tensor]  # what the scheduler keeps from step to step
    generator_state: Tensor  # of the generator that the scheduler draws noise from

    @property
    def size_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._tensors().values())

    def to_bytes(self, label: Mapping[str, str]) -> bytes:
        """Write as safetensors, every tensor in its own dtype.

        `label`: what the state belongs to; `from_bytes` asks for it.
        """
        tensors = {
            name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()
        }
        metadata = {"format": _FORMAT, "step": str(self.step), **label}
        return save(tensors, {**metadata, "sha256": _digest(tensors, self.step)})

    @classmethod
    def from_bytes(cls, data: bytes, *labels: Mapping[str, str]) -> Self:
        """Read what `to_bytes` wrote with one of these labels.

        Raises InvalidSamplerStateError if the bytes are broken or have another label.
        """
        try:
            metadata = _metadata(data)
            tensors = load(data)
            step, latents, generator = int(metadata["step"]), tensors[_LATENTS], tensors[_GENERATOR]
            is_whole = metadata["sha256"] == _digest(tensors, step)
        except (SafetensorError, ValueError, LookupError, TypeError) as error:
            raise InvalidSamplerStateError(f"it cannot be read: {type(error).__name__}") from error
        if not is_whole:
            raise InvalidSamplerStateError("its checksum is wrong")
        differing = [_first_difference(metadata, {"format": _FORMAT, **label}) for label in labels]
        if all(differing):
            raise InvalidSamplerStateError(f"its {differing[0]} is another")
        scheduler = {
            name.removeprefix(_SCHEDULER): tensor
            for name, tensor in tensors.items()
            if name.startswith(_SCHEDULER) and name != _GENERATOR
        }
        return cls(step, latents, scheduler, generator)

    def _tensors(self) -> dict[str, Tensor]:
        return {
            _LATENTS: self.latents,
            _GENERATOR: self.generator_state,
            **{_SCHEDULER + name: tensor for name, tensor in self.scheduler_state.items()},
        }


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of safetensors in memory; the library itself reads it only from files."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata


def _first_difference(metadata: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    return next((name for name, value in expected.items() if metadata.get(name) != value), None)


def _digest(tensors: Mapping[str, Tensor], step: int) -> str:
    digest = hashlib.sha256(str(step).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f" {name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
