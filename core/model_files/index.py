"""A checkpoint's `model_index.json`: which parts it has, and of which classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from panoweave.core.families import FAMILIES, Family, family_in, names_part
from panoweave.core.model_files.errors import CheckpointError
from panoweave.core.model_files.find import LEGAL, read_json

INDEX: Final = "model_index.json"
# The folders that are loaded, of every family.
PARTS: Final = tuple(dict.fromkeys(name for family in FAMILIES for name in family.parts))
# Filters of finished pictures, which panoweave does not apply, and a ControlNet, which is loaded
# beside the checkpoint.
_LEFT_OUT: Final = ("safety_checker", "feature_extractor", "controlnet")


def read_index(folder: Path) -> tuple[Family, dict[str, Any]]:
    """A checkpoint's family and its `model_index.json`. Raises CheckpointError."""
    file = folder / INDEX
    if not file.is_file():
        raise CheckpointError(f"it has no {INDEX}; legal: {LEGAL}, in diffusers' format")
    index = read_json(file)
    family = family_in(index)
    if family is None:
        legal = ", ".join(each.title for each in FAMILIES)
        raise CheckpointError(f"a {index.get('_class_name')} is not supported; legal: {legal}")
    for name in index:
        if names_part(index, name) and name not in family.parts and name not in _LEFT_OUT:
            raise CheckpointError(f"{INDEX} names a part {name!r}, which panoweave cannot use")
    return family, index


def part_class(family: Family, index: Mapping[str, Any], name: str) -> str:
    """The class of a network or tokenizer that the index names. Raises CheckpointError."""
    legal = family.networks[name] if name in family.networks else family.tokenizers[name]
    library, named = index[name][0], index[name][-1]
    if named not in legal or str(library).partition(".")[0] != legal[named]:
        raise CheckpointError(
            f"{INDEX} says that it is a {named} of {library}; legal: {' or '.join(legal)}"
        )
    return str(named)
