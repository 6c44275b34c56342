"""Check that a LoRA file was used as a whole: diffusers skips what it does not find a place for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.model_files.find import refuse_lfs_pointers

_SHOWN = 3


def read_lora(file: Path) -> dict[str, Tensor]:
    """The tensors of a LoRA file. Raises CheckpointError for those that diffusers drops."""
    refuse_lfs_pointers([file])
    tensors: dict[str, Tensor] = load_file(file)
    if dora := [name for name in tensors if "dora_scale" in name]:
        raise CheckpointError(
            f"it is a DoRA, {_named(dora)}, which diffusers would fold in as a LoRA; legal: a "
            "LoRA, or a DoRA in PEFT's format (lora_magnitude_vector)"
        )
    return tensors


def check_coverage(tensors: Mapping[str, Tensor], networks: Iterable[Any]) -> None:
    """Raise CheckpointError unless the networks' adapters hold exactly these tensors.

    Tensors are compared by their numbers, since the formats of LoRA files name them differently.
    """
    weights = {name: tensor for name, tensor in tensors.items() if not name.endswith("alpha")}
    loaded = [
        parameter.detach()
        for network in networks
        for name, parameter in network.named_parameters()
        if ".lora_" in name
    ]
    dtypes = {tensor.dtype for tensor in loaded}
    left = Counter(map(_digest, loaded))
    unused = []
    for name, tensor in weights.items():
        found = next((key for key in _digests(tensor, dtypes) if left[key]), None)
        if found is None:
            unused.append(name)
        else:
            left[found] -= 1
    modules = {_module(name) for name in weights} - {_module(name) for name in unused}
    unused += [name for name in tensors if name not in weights and _module(name) not in modules]
    if unused:
        raise CheckpointError(
            f"{len(unused)} of its {len(tensors)} tensors fit nothing in this checkpoint: "
            f"{_named(unused)}; use a LoRA that was trained on this kind of checkpoint, for "
            "transformers in PEFT's format (lora_A, lora_B)"
        )
    if invented := left.total():
        raise CheckpointError(
            f"it is incomplete: {invented} tensors of the layers that it changes are not in the "
            "file; download it again"
        )


def _module(name: str) -> str:
    """The layer that a tensor of a LoRA file changes, in the file's own words."""
    for mark in (".lora", "_lora", ".alpha", ".processor"):
        name = name.partition(mark)[0]
    return name


def _digests(tensor: Tensor, dtypes: Iterable[torch.dtype]) -> list[bytes]:
    return [_digest(tensor.to(dtype)) for dtype in dtypes]


def _digest(tensor: Tensor) -> bytes:
    data = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(data).digest()


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
