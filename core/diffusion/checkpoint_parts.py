"""Load the parts of a checkpoint, and refuse what the libraries would fill in or leave out."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
import torch

from panoweave.core.diffusion.checkpoint_files import LEGAL, find_variant, refuse_lfs_pointers
from panoweave.core.diffusion.errors import (
    CheckpointError,
    DiffusionError,
    UnsupportedSchedulerError,
    in_one_line,
)
from panoweave.core.families import names_part

INDEX: Final = "model_index.json"
# Filters of finished pictures, which panoweave does not apply, and a ControlNet, which
# `load_pipeline` loads.
_LEFT_OUT: Final = ("safety_checker", "feature_extractor", "controlnet")
# Weights of CLIP that no text encoder of these families has, or uses.
_UNUSED_WEIGHTS: Final = re.compile(
    r"(.*\.)?(position_ids|logit_scale|text_projection\.weight)|(vision_model|visual_projection)\..*"
)


@dataclass(frozen=True)
class Tokenizer:
    """How the tokenizer of a family's checkpoints is loaded."""

    encoder: str  # the network that reads its tokens
    kinds: Mapping[str, Any]  # the legal classes, by their names in model_index.json
    check: Callable[[Any, Any, Path], None]  # of tokenizer, configuration of its encoder, folder


@dataclass(frozen=True)
class PartKinds:
    """What the checkpoints of a family consist of, beside their scheduler."""

    networks: Mapping[str, tuple[Any, ...]]  # the legal classes, by the names of the parts
    tokenizers: Mapping[str, Tokenizer]
    needed: tuple[str, ...]  # None stands for one that is missing: `ModelFamily.check` refuses it

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.networks, *self.tokenizers, "scheduler")


def read_index(folder: Path) -> dict[str, Any]:
    """A checkpoint's `model_index.json`."""
    file = folder / INDEX
    if not file.is_file():
        raise CheckpointError(f"{folder} has no {INDEX}; legal: {LEGAL}, in diffusers' format")
    return read_json(file)


def load_parts(
    folder: Path, index: Mapping[str, Any], kinds: PartKinds, dtype: torch.dtype
) -> dict[str, Any]:
    """The networks and tokenizers that the index names, by their names."""
    for name in index:
        if names_part(index, name) and name not in kinds.names and name not in _LEFT_OUT:
            raise CheckpointError(f"{INDEX} names a part {name!r}, which panoweave cannot use")
    parts = {}
    for name, classes in kinds.networks.items():
        if names_part(index, name):
            with part_errors(name):
                kind = _class_of(index, name, {kind.__name__: kind for kind in classes})
                parts[name] = load_network([kind], folder / name, dtype)
    for name, tokenizer in kinds.tokenizers.items():
        if names_part(index, name):
            with part_errors(name):
                kind = _class_of(index, name, tokenizer.kinds)
                check_folder(folder / name)
                parts[name] = kind.from_pretrained(folder / name, local_files_only=True)
                if tokenizer.encoder in parts:
                    config = parts[tokenizer.encoder].config
                    tokenizer.check(parts[name], config, folder / name)
    return {**dict.fromkeys(kinds.needed), **parts}


def load_network(kinds: Sequence[Any], folder: Path, dtype: torch.dtype) -> Any:
    """A network of which each weight came from the folder, and which uses each weight in it.

    `kinds`: the classes that are legal; config.json says which it is, if it says any.
    """
    check_folder(folder)
    config = read_json(folder / "config.json")
    kind = kinds[0]
    if found := config.get("_class_name"):
        by_name = {kind.__name__: kind for kind in kinds}
        if found not in by_name:
            legal = " or ".join(f"a {name}" for name in by_name)
            raise CheckpointError(f"it is a {found}; legal: {legal}")
        kind = by_name[found]
        _refuse_unknown_settings(kind, config)
    variant = find_variant(file.name for file in folder.iterdir())
    network, info = kind.from_pretrained(
        folder,
        dtype=dtype,
        output_loading_info=True,
        local_files_only=True,
        **({"variant": variant} if variant else {}),
    )
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{_some(missing)} not in its files: they are incomplete, or of another model; "
            "download them again"
        )
    unused = [name for name in info["unexpected_keys"] if not _UNUSED_WEIGHTS.fullmatch(name)]
    if unused:
        raise CheckpointError(
            f"{_some(sorted(unused))} in its files but not in a {kind.__name__} with this "
            "config.json; use the two that belong together"
        )
    _refuse_broken_numbers(network)
    return network


@contextmanager
def part_errors(what: str, legal: str | None = None) -> Iterator[None]:
    """Raise CheckpointError, in one line with the part's name, for every error while loading it."""
    try:
        yield
    except UnsupportedSchedulerError as error:
        error.args = (f"{what}: {error}",)
        raise
    except Exception as error:
        problem = str(error) if isinstance(error, DiffusionError) else in_one_line(error)
        remedy = f"; legal: {legal}" if legal else ""
        if not (legal or isinstance(error, DiffusionError)):
            remedy = "; download it again, or use another checkpoint"
        raise CheckpointError(f"{what}: {problem}{remedy}") from error


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {file.name} in {file.parent}") from error
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a JSON object")
    return content


def check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no directory {folder}")
    refuse_lfs_pointers(folder.iterdir())


def _class_of(index: Mapping[str, Any], name: str, legal: Mapping[str, Any]) -> Any:
    library, named = index[name][0], index[name][-1]
    kind = legal.get(named)
    if kind is None or str(library).partition(".")[0] != kind.__module__.partition(".")[0]:
        raise CheckpointError(
            f"{INDEX} says that it is a {named} of {library}; legal: {' or '.join(legal)}"
        )
    return kind


def _refuse_broken_numbers(network: Any) -> None:
    broken = [
        name
        for name, weight in network.state_dict().items()
        if weight.is_floating_point() and not weight.isfinite().all()
    ]
    if broken:
        raise CheckpointError(
            f"{_some(sorted(broken))} not finite as {network.dtype}; download them again, or set "
            "another dtype"
        )


def _refuse_unknown_settings(kind: Any, config: Mapping[str, Any]) -> None:
    known = inspect.signature(kind.__init__).parameters
    unknown = [
        name
        for name, value in config.items()
        if name not in known and not name.startswith("_") and value not in (None, False)
    ]
    if unknown:
        # Some classes write more settings than they read.
        with torch.device("meta"):
            written = kind(**{name: config[name] for name in known if name in config}).config
        unknown = [name for name in unknown if name not in written]
    if unknown:
        raise CheckpointError(
            f"its config.json says {', '.join(sorted(unknown))}, which the installed diffusers "
            f"{diffusers.__version__} does not know; it was made for another version"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {'is' if len(names) == 1 else 'are'}"
