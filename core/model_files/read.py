"""What a model makes, read from its JSON files: what a worker finds that loads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.families import Family, names_part
from panoweave.core.loras import LoraSource, lora_traits
from panoweave.core.model_files.additions import check_controlnet, check_tiny_decoder
from panoweave.core.model_files.configs import CONFIG_FILE, read_config
from panoweave.core.model_files.defaults import DEFAULTS_FILE, fill_defaults
from panoweave.core.model_files.errors import part_errors
from panoweave.core.model_files.find import (
    CONTROLNET_FOLDER,
    TINY_FOLDER,
    bundled,
    read_json,
    resolve_checkpoint,
)
from panoweave.core.model_files.index import INDEX, PARTS, part_class, read_index
from panoweave.core.model_files.readers import READERS
from panoweave.core.model_files.scheduler import SCHEDULER_FILE

TINY_DECODERS: Final = ("AutoencoderTiny", "PatchAutoencoder")
CONTROLNETS: Final = ("ControlNetModel",)
_FILES: Final = (
    INDEX,
    DEFAULTS_FILE,
    f"scheduler/{SCHEDULER_FILE}",
    *(f"{name}/{CONFIG_FILE}" for name in PARTS),
)


@dataclass(frozen=True)
class _Part:
    config: Any


def read_traits(
    checkpoint: str,
    *,
    tiny_decoder: str | None = None,
    controlnet: str | None = None,
    loras: Mapping[str, LoraSource] = MappingProxyType({}),
) -> CheckpointTraits:
    """The traits of a checkpoint with what is loaded beside it, named as for `load_pipeline`.

    Raises DiffusionError, in one line, for what the files say that no worker could load.
    """
    with TemporaryDirectory(prefix="panoweave-") as scratch:
        with part_errors(f"cannot read the checkpoint {checkpoint!r}"):
            folder = _find(checkpoint, _FILES, Path(scratch, "checkpoint"))
            family, index = read_index(folder)
            reader = READERS[family]
            with part_errors("scheduler"):
                settings = read_json(folder / "scheduler" / SCHEDULER_FILE)
                scheduler = reader.check_scheduler(settings)
            parts = _read_parts(family, folder, index)
            reader.check(parts)
            traits = fill_defaults(reader.read(parts), folder, scheduler, parts)
        if source := tiny_decoder or bundled(checkpoint, TINY_FOLDER):
            with part_errors(f"cannot read the tiny decoder {source!r}"):
                folder = _find(source, [CONFIG_FILE], Path(scratch, TINY_FOLDER))
                check_tiny_decoder(read_config(folder, TINY_DECODERS), parts)
                traits = traits.model_copy(update={"tiny_decoder": True})
        if source := controlnet or bundled(checkpoint, CONTROLNET_FOLDER):
            with part_errors(f"cannot read the ControlNet {source!r}"):
                folder = _find(source, [CONFIG_FILE], Path(scratch, CONTROLNET_FOLDER))
                controlnet_config = read_config(folder, CONTROLNETS)
                check_controlnet(controlnet_config, parts, traits)
                traits = traits.model_copy(update={"controlnet": True})
    # A LoRA's own file is read by workers alone, who start with none that does not fit.
    return traits.model_copy(update={"loras": lora_traits(loras)})


def _read_parts(family: Family, folder: Path, index: Mapping[str, Any]) -> Any:
    """By the names that a pipeline has for them; None: the checkpoint has no such part."""
    parts = SimpleNamespace(**dict.fromkeys(PARTS))
    for name in family.networks:
        if names_part(index, name):
            with part_errors(name):
                config = read_config(folder / name, [part_class(family, index, name)])
                setattr(parts, name, _Part(config))
    for name in family.tokenizers:
        if names_part(index, name):
            with part_errors(name):
                setattr(parts, name, _Part(part_class(family, index, name)))
    return parts


def _find(checkpoint: str, files: Sequence[str], scratch: Path) -> Path:
    """The directory with those of these files that a checkpoint has."""
    name, _ = resolve_checkpoint(checkpoint)
    if Path(name).is_dir():
        return Path(name)
    # Half a second to import, which a deployment of directories does not need.
    from panoweave.core.model_files.hub import fetch_small_files

    return fetch_small_files(checkpoint, files, scratch)
