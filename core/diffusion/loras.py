"""LoRAs by request: folded into the weights for one panorama, and taken out again.

docs/decisions/0058 says why they are folded in, and not run as adapters.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.lora_adapters import LayerChange, Place, read_changes, weight_at
from panoweave.core.diffusion.lora_files import LORA_LEGAL, find_lora
from panoweave.core.loras import Lora, LoraSource, lora_traits, resolve_loras
from panoweave.core.model_files.errors import part_errors


@dataclass(frozen=True)
class AppliedLora:
    name: str
    scale: float
    sha256: str  # of its file


class Loras:
    """The LoRAs that requests may name, and the weights of one pipeline.

    All are read when the pipeline is loaded, to be checked. As many as fit stay in memory; of
    those, the one that was not used for longest goes first.
    """

    def __init__(self, pipeline: Any, offered: Mapping[str, LoraSource], max_bytes: int) -> None:
        """`max_bytes`: of the LoRAs that are kept; those of one panorama may need more.

        Raises CheckpointError for one that is not there, or not for this checkpoint as a whole.
        """
        self.traits = lora_traits(offered)
        self._pipeline = pipeline
        self._max_bytes = max_bytes
        self._files: dict[str, Path] = {}
        self.digests: dict[str, str] = {}  # SHA-256 of the files, by name
        self._kept: OrderedDict[str, Mapping[Place, LayerChange]] = OrderedDict()
        self._folded: tuple[AppliedLora, ...] | None = ()  # None: not known
        self._originals: dict[Place, Tensor] = {}
        for name, each in offered.items():
            file = self._files[name] = find_lora(each.source)
            self.digests[name] = _digest(file, name)
            self._kept[name] = read_changes(pipeline, file, name)
            self._drop_least_used(wanted=())

    def applied(self, asked: Sequence[Lora]) -> list[AppliedLora]:
        """Those of a request that change something, in the order in which they are folded in.

        Raises InvalidParams for one that there is not.
        """
        known = resolve_loras(asked, self._pipeline.traits)
        loras = sorted((lora.name, lora.scale) for lora in known if lora.scale)
        return [AppliedLora(name, scale, self.digests[name]) for name, scale in loras]

    @torch.no_grad()
    def fold_in(self, asked: Sequence[Lora]) -> list[AppliedLora]:
        """Change the pipeline's weights to those with these LoRAs, and no others.

        The bits depend on these LoRAs alone: not on what was folded in before, nor on the order of
        a request. If one cannot be read or folded in, the weights are the checkpoint's own then.
        """
        applied = self.applied(asked)
        if tuple(applied) == self._folded:
            return applied
        self._folded = None
        self._restore()
        changes = [(lora.scale, self._changes(lora.name)) for lora in applied]
        self._drop_least_used([lora.name for lora in applied])
        try:
            for place in dict.fromkeys(place for _, each in changes for place in each):
                self._fold(
                    place, [(scale, each[place]) for scale, each in changes if place in each]
                )
        except BaseException:
            self._restore()
            raise
        self._folded = tuple(applied)
        return applied

    def _fold(self, place: Place, changes: Sequence[tuple[float, LayerChange]]) -> None:
        weight = weight_at(self._pipeline, place)
        # Text encoders may wait elsewhere; on the pipeline's device, the bits are the same.
        dtype = torch.promote_types(weight.dtype, torch.float32)
        exact = weight.to(self._pipeline.device, dtype)
        added = sum(scale * change.of(exact) for scale, change in changes)
        self._originals[place] = weight.to("cpu", copy=True)
        weight.copy_(exact + added)

    def _restore(self) -> None:
        for place, original in self._originals.items():
            weight_at(self._pipeline, place).copy_(original)
        self._originals.clear()

    def _changes(self, name: str) -> Mapping[Place, LayerChange]:
        if name not in self._kept:
            file = self._files[name]
            if _digest(file, name) != self.digests[name]:
                raise CheckpointError(
                    f"the file of the LoRA {name!r} has changed since this worker started; restart "
                    "the workers"
                )
            self._kept[name] = read_changes(self._pipeline, file, name)
        self._kept.move_to_end(name)
        return self._kept[name]

    def _drop_least_used(self, wanted: Sequence[str]) -> None:
        for name in list(self._kept):
            if sum(map(_size_bytes, self._kept.values())) <= self._max_bytes:
                return
            if name not in wanted:
                del self._kept[name]


def _size_bytes(changes: Mapping[Place, LayerChange]) -> int:
    return sum(change.size_bytes for change in changes.values())


def _digest(file: Path, name: str) -> str:
    with part_errors(f"cannot read the LoRA {name!r}", LORA_LEGAL), file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
