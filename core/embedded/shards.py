"""The training pictures on disk: windows rendered once, in shards that can be made in any order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoweave.core.embedded.scenes import WINDOW_PX, cut_windows, render_scene
from panoweave.core.embedded.style import BIOMES, TIMES, WEATHERS, Subject

WINDOWS_PER_SCENE = 3


@dataclass(frozen=True)
class Shard:
    """Windows and what they show; row i of `subjects` belongs to picture i."""

    pictures: NDArray[np.uint8]  # (N, WINDOW_PX, WINDOW_PX, 3)
    subjects: NDArray[np.uint8]  # (N, 3): places in BIOMES, TIMES, WEATHERS


def subject_at(row: NDArray[np.uint8]) -> Subject:
    """The subject that a row of `Shard.subjects` stands for."""
    biome, time, weather = (int(i) for i in row)
    return Subject(BIOMES[biome], TIMES[time], WEATHERS[weather])


def render_shard(seed: int, index: int, scenes: int) -> Shard:
    """Shard `index` of the data set `seed`: the same arguments give the same pictures."""
    rng = np.random.default_rng([seed, index])
    pictures = np.empty((scenes * WINDOWS_PER_SCENE, WINDOW_PX, WINDOW_PX, 3), np.uint8)
    subjects = np.empty((len(pictures), 3), np.uint8)
    for i in range(scenes):
        scene, subject = render_scene(rng)
        place = (
            BIOMES.index(subject.biome),
            TIMES.index(subject.time),
            WEATHERS.index(subject.weather),
        )
        for j, window in enumerate(cut_windows(rng, scene, WINDOWS_PER_SCENE)):
            at = i * WINDOWS_PER_SCENE + j
            pictures[at] = (window * 255 + 0.5).astype(np.uint8)
            subjects[at] = place
    return Shard(pictures, subjects)


def ensure_shard(folder: Path, seed: int, index: int, scenes: int) -> Shard:
    """The shard from disk, memory-mapped; rendered first if it is not there yet."""
    pictures, subjects = folder / f"pictures-{index:03}.npy", folder / f"subjects-{index:03}.npy"
    if not subjects.exists():  # written last, so its presence means that both are whole
        folder.mkdir(parents=True, exist_ok=True)
        shard = render_shard(seed, index, scenes)
        np.save(pictures, shard.pictures)
        np.save(subjects, shard.subjects)
    return Shard(np.load(pictures, mmap_mode="r"), np.load(subjects))


def main(arguments: Sequence[str] | None = None) -> None:
    """Renders some shards, so that several processes can share the work before training."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--shards", type=int, nargs="+", required=True)
    asked = parser.parse_args(arguments)
    for index in asked.shards:
        ensure_shard(asked.folder, asked.seed, index, asked.scenes)
        print(f"shard {index} is there", flush=True)


if __name__ == "__main__":
    main()
