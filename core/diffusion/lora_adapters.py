"""Read LoRA files as diffusers and peft do, and refuse those of which they would use a part."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import DDIMScheduler
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.lora_coverage import check_coverage, read_lora
from panoweave.core.diffusion.lora_files import LORA_LEGAL
from panoweave.core.model_files.errors import part_errors

_DENOISER: Final = "denoiser"

# It warns of every network that a file does not change; `check_coverage` finds what is left over.
logging.getLogger("diffusers.loaders.lora_base").setLevel(logging.ERROR)


@contextmanager
def lora_adapter(pipeline: Any, file: Path, name: str) -> Iterator[Any]:
    """A LoRA as an adapter in the pipeline's networks, while the block runs.

    Gives diffusers' pipeline of the same networks. Raises CheckpointError unless all of the file's
    tensors are used, and OutOfMemoryError.
    """
    # diffusers knows the formats of LoRA files. It changes some settings of the scheduler, so it
    # gets one of its own.
    loader = pipeline.family.lora_loader(pipeline, DDIMScheduler(steps_offset=1, clip_sample=False))
    ran_out = (torch.OutOfMemoryError,)  # a worker tries again with less memory
    with part_errors(f"cannot load the LoRA {name!r}", LORA_LEGAL, passing=ran_out):
        tensors, shapes = read_lora(file), _shapes(pipeline)
        try:
            loader.load_lora_weights(str(file.parent), weight_name=file.name)
            if not loader.get_list_adapters():
                raise CheckpointError("it changes nothing in this checkpoint")
            if _shapes(pipeline) != shapes:
                raise CheckpointError("it widens layers of the checkpoint, as control LoRAs do")
            check_coverage(tensors, _networks(pipeline).values())
            yield loader
        finally:
            loader.unload_lora_weights()


@dataclass(frozen=True)
class LayerChange:
    """What a LoRA, or a DoRA (arXiv 2402.09353), changes in the weight of a layer."""

    down: Tensor  # A (rank, in, ...)
    up: Tensor  # B (out, rank, ...)
    scaling: float  # alpha / rank
    magnitude: Tensor | None  # m, of a DoRA: `out` numbers

    @property
    def size_bytes(self) -> int:
        tensors = self.down, self.up, self.magnitude
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def of(self, weight: Tensor) -> Tensor:
        """What is added to a weight (out, in, ...), at full strength; computed in its dtype."""
        up, down = (each.to(weight).flatten(1) for each in (self.up, self.down))
        change = (up @ down).view_as(weight) * self.scaling
        if self.magnitude is None:
            return change
        moved = (weight + change).flatten(1)
        length = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
        magnitude = self.magnitude.to(weight).reshape(-1, 1)
        scaled: Tensor = magnitude / length * moved
        return scaled.view_as(weight) - weight


# A layer by the name of its network, and its own there.
Place = tuple[str, str]


def read_changes(pipeline: Any, file: Path, name: str) -> Mapping[Place, LayerChange]:
    """What a LoRA changes in the pipeline's networks, in memory of the CPU."""
    with lora_adapter(pipeline, file, name):
        return {
            (part, layer): _change(adapter, layer)
            for part, network in _networks(pipeline).items()
            for layer, adapter in network.named_modules()
            if isinstance(adapter, LoraLayer)
        }


def weight_at(pipeline: Any, place: Place) -> Tensor:
    part, layer = place
    weight: Tensor = _networks(pipeline)[part].get_submodule(layer).weight
    return weight


def _networks(pipeline: Any) -> dict[str, Any]:
    encoders = {f"text_encoder {n}": each for n, each in enumerate(pipeline.text_encoders, 1)}
    return {_DENOISER: pipeline.denoiser, **encoders}


def _shapes(pipeline: Any) -> dict[tuple[str, str], torch.Size]:
    """Of the checkpoint's own weights. diffusers replaces layers of FLUX.1 that a file widens."""
    return {
        (part, name.replace(".base_layer.", ".")): weight.shape
        for part, network in _networks(pipeline).items()
        for name, weight in network.named_parameters()
        if ".lora_" not in name
    }


def _change(adapter: Any, layer: str) -> LayerChange:
    if not isinstance(adapter.get_base_layer(), nn.Linear | nn.Conv2d):
        kind = type(adapter.get_base_layer()).__name__
        raise CheckpointError(f"it changes {layer}, a {kind}; legal: linear and 2D convolution")
    (key,) = adapter.scaling
    up, down = adapter.lora_B[key], adapter.lora_A[key]
    if up.bias is not None:
        raise CheckpointError(f"it has a bias for {layer}; legal: none")
    vectors = adapter.lora_magnitude_vector
    magnitude = vectors[key].weight if key in vectors else None
    return LayerChange(
        _kept(down.weight),
        _kept(up.weight),
        float(adapter.scaling[key]),
        None if magnitude is None else _kept(magnitude),
    )


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
