"""The data set on disk: panoramas in small shards, with what each of their columns shows.

A shard is a folder: `pictures.npy` (N, 3, H, W) bytes, `scenes.json`, and `columns.npz` with the
arrays that the renderer left in each scene. It appears whole, by renaming.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scene = dict[str, Any]
_COLUMNS = "columns"  # where a rendered scene keeps what `window_attributes` reads


@dataclass(frozen=True)
class Shard:
    """Panoramas (N, 3, H, W) and their scenes, in the same order."""

    pictures: NDArray[np.uint8]
    scenes: list[Scene]


def shard_folder(folder: Path, index: int) -> Path:
    """Where a shard lies, once it is there."""
    return folder / f"{index:05}"


def write_shard(
    folder: Path, index: int, pictures: NDArray[np.uint8], scenes: Sequence[Scene], revision: str
) -> None:
    """Save what was rendered, and by which revision of the renderer."""
    target = shard_folder(folder, index)
    beside = folder / f".{index:05}.{os.getpid()}.part"
    beside.mkdir(parents=True)
    arrays: dict[str, NDArray[Any]] = {}
    kept: list[Scene] = []
    for number, scene in enumerate(scenes):
        columns = scene[_COLUMNS]
        small = {}
        for name, value in columns.items():
            if isinstance(value, np.ndarray):
                arrays[f"{name}-{number}"] = value.astype(np.float16)
            else:
                small[name] = value
        kept.append({**scene, _COLUMNS: small})
    np.save(beside / "pictures.npy", pictures)
    np.savez_compressed(beside / "columns.npz", **arrays)  # type: ignore[arg-type]
    text = json.dumps({"revision": revision, "index": index, "scenes": kept})
    (beside / "scenes.json").write_text(text)
    if target.exists():  # another process was faster; the same scenes give the same pictures
        shutil.rmtree(beside)
    else:
        beside.rename(target)


def read_shard(folder: Path, index: int) -> Shard:
    """A shard from disk, its pictures memory-mapped (copy-on-write: torch wants them writable)."""
    source = shard_folder(folder, index)
    scenes: list[Scene] = json.loads((source / "scenes.json").read_text())["scenes"]
    with np.load(source / "columns.npz") as arrays:
        for key in arrays.files:
            name, _, number = key.rpartition("-")
            scenes[int(number)][_COLUMNS][name] = arrays[key].astype(np.float32)
    return Shard(np.load(source / "pictures.npy", mmap_mode="c"), scenes)


def count_shards(folder: Path) -> int:
    """How many shards are there without a gap, from shard 0 on."""
    count = 0
    while shard_folder(folder, count).exists():
        count += 1
    return count
