"""The data set on disk: panoramas in small shards, with what each of their columns shows.

A shard is a folder: `pictures.npy` (N, 3, H, W) bytes, `columns.npy` and `scenes.json` with the
facts of each panorama. It appears whole, by renaming.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoweave.core.embedded.training.renderer import Facts, WindowAttributes, window_attributes

# What captions read of a scene's numbers.
NUMBERS = ("tree_kind", "wave", "rain")


@dataclass(frozen=True)
class Subject:
    """What a panorama shows, and the scene's numbers that captions read."""

    facts: Facts
    numbers: Mapping[str, float]

    def window(self, left: int, width: int) -> WindowAttributes:
        """What the columns from `left` on show."""
        return window_attributes(self.facts, left, width)


@dataclass(frozen=True)
class Shard:
    """Panoramas (N, 3, H, W) and what they show, in the same order."""

    pictures: NDArray[np.uint8]
    subjects: list[Subject]


def shard_folder(folder: Path, index: int) -> Path:
    """Where a shard lies, once it is there."""
    return folder / f"{index:05}"


def write_shard(
    folder: Path,
    index: int,
    pictures: NDArray[np.uint8],
    subjects: Sequence[Subject],
    revision: str,
) -> None:
    """Save what was rendered, and by which revision of the renderer."""
    target = shard_folder(folder, index)
    beside = folder / f".{index:05}.{os.getpid()}.part"
    beside.mkdir(parents=True)
    scenes = [
        {"facts": subject.facts.to_json(), "numbers": dict(subject.numbers)} for subject in subjects
    ]
    np.save(beside / "pictures.npy", pictures)
    np.save(beside / "columns.npy", np.stack([subject.facts.columns for subject in subjects]))
    (beside / "scenes.json").write_text(json.dumps({"revision": revision, "scenes": scenes}))
    if target.exists():  # another process was faster; the same scenes give the same pictures
        shutil.rmtree(beside)
    else:
        beside.rename(target)


def read_shard(folder: Path, index: int) -> Shard:
    """A shard from disk, its pictures memory-mapped (copy-on-write: torch wants them writable)."""
    source = shard_folder(folder, index)
    scenes = json.loads((source / "scenes.json").read_text())["scenes"]
    columns = np.load(source / "columns.npy")
    subjects = [
        Subject(Facts.from_json(scene["facts"], own), scene["numbers"])
        for scene, own in zip(scenes, columns, strict=True)
    ]
    return Shard(np.load(source / "pictures.npy", mmap_mode="c"), subjects)


def count_shards(folder: Path) -> int:
    """How many shards are there without a gap, from shard 0 on."""
    count = 0
    while shard_folder(folder, count).exists():
        count += 1
    return count
