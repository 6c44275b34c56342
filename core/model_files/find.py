"""Which directory or hub id a checkpoint's name means, and what is wrong with its files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from panoweave.core.model_files.errors import CheckpointError

LEGAL: Final = "a directory, or a hub id with an optional @revision"
# Folders of a checkpoint's directory that may hold what is loaded beside it.
TINY_FOLDER: Final = "tiny_decoder"
CONTROLNET_FOLDER: Final = "controlnet"
_LFS_POINTER: Final = b"version https://git-lfs"


def resolve_checkpoint(checkpoint: str) -> tuple[str, str | None]:
    """(directory or hub id, hub revision) of a directory or of `hub/id[@revision]`."""
    if Path(checkpoint).is_dir():
        return checkpoint, None
    if checkpoint.startswith((".", "/", "~")):
        raise CheckpointError(f"there is no directory {checkpoint}")
    hub_id, _, revision = checkpoint.partition("@")
    return hub_id, revision or None


def bundled(checkpoint: str, folder: str) -> str | None:
    """What lies in a checkpoint's directory to be loaded beside it."""
    path = Path(checkpoint) / folder
    return str(path) if path.is_dir() else None


def refuse_lfs_pointers(files: Iterable[Path]) -> None:
    """Raise CheckpointError for files that stand for others, as a clone without git-lfs has."""
    for file in sorted(files):
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(len(_LFS_POINTER)) == _LFS_POINTER:
                    raise CheckpointError(f"{file.name} is a Git LFS pointer: run `git lfs pull`")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError."""
    refuse_lfs_pointers([file])
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {file.name}") from error
    except ValueError as error:
        raise CheckpointError(f"{file.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file.name} is not a JSON object")
    return content
