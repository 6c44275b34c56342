"""A checkpoint's `model_index.json`: which parts it has, and of which classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from panoweave.core.model_files.errors import CheckpointError
from panoweave.core.model_files.find import LEGAL, read_json

INDEX: Final = "model_index.json"
# The library of each class that a part may have.
NETWORKS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "unet": {"UNet2DConditionModel": "diffusers"},
        "vae": {
            "AutoencoderKL": "diffusers",
            "AutoencoderTiny": "diffusers",
            "PatchAutoencoder": "panoweave",
        },
        "text_encoder": {"CLIPTextModel": "transformers"},
        "text_encoder_2": {"CLIPTextModelWithProjection": "transformers"},
    }
)
_CLIP_TOKENIZERS: Final = {"CLIPTokenizer": "transformers", "CLIPTokenizerFast": "transformers"}
TOKENIZERS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"tokenizer": _CLIP_TOKENIZERS, "tokenizer_2": _CLIP_TOKENIZERS}
)
PARTS: Final = (*NETWORKS, *TOKENIZERS, "scheduler")
# Filters of finished pictures, which panoweave does not apply, and a ControlNet, which is loaded
# beside the checkpoint.
_LEFT_OUT: Final = ("safety_checker", "feature_extractor", "controlnet")


def read_index(folder: Path) -> dict[str, Any]:
    """A checkpoint's `model_index.json`, if it names a pipeline that panoweave can run."""
    file = folder / INDEX
    if not file.is_file():
        raise CheckpointError(f"it has no {INDEX}; legal: {LEGAL}, in diffusers' format")
    index = read_json(file)
    if "unet" not in index:
        raise CheckpointError(
            f"a {index.get('_class_name')} has no UNet; legal: checkpoints in the format of "
            "Stable Diffusion 1, 2 or XL"
        )
    for name in index:
        if names_part(index, name) and name not in PARTS and name not in _LEFT_OUT:
            raise CheckpointError(f"{INDEX} names a part {name!r}, which panoweave cannot use")
    return index


def names_part(index: Mapping[str, Any], name: str) -> bool:
    """Whether the index names a part; those that a checkpoint lacks are [null, null]."""
    value = index.get(name)
    return isinstance(value, list) and any(value)


def part_class(index: Mapping[str, Any], name: str) -> str:
    """The class of a network or tokenizer that the index names. Raises CheckpointError."""
    legal = NETWORKS[name] if name in NETWORKS else TOKENIZERS[name]
    library, named = index[name][0], index[name][-1]
    if named not in legal or str(library).partition(".")[0] != legal[named]:
        raise CheckpointError(
            f"{INDEX} says that it is a {named} of {library}; legal: {' or '.join(legal)}"
        )
    return str(named)
