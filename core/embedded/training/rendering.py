"""Renders the data set, shard by shard."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from panoweave.core.embedded.training.renderer import render_with_facts, sample_scene
from panoweave.core.embedded.training.runs import Stop
from panoweave.core.embedded.training.shards import NUMBERS, Subject, shard_folder, write_shard

REVISION = "2"  # raise it with every change of what the renderer draws


def ensure_shards(
    folder: Path, seed: int, shards: int, scenes: int, device: torch.device, stop: Stop
) -> None:
    """Renders the shards that are not there, in order. Processes beside one another share them.

    A shard's scenes follow from its number, so it does not matter who renders it, or when.
    """
    rendered = 0
    for index in range(shards):
        if stop.is_due(rendered):
            return
        began = time.monotonic()
        with _claim(folder, index) as claimed:
            if not claimed or shard_folder(folder, index).exists():
                continue
            render_shard(folder, seed, index, scenes, device)
        rendered += 1
        pace_s = (time.monotonic() - began) / scenes
        print(
            f"{time.strftime('%H:%M:%S')} shard {index + 1}/{shards}, {pace_s:.2f} s a panorama",
            flush=True,
        )


@contextmanager
def _claim(folder: Path, index: int) -> Iterator[bool]:
    """Whether the shard is this process's to render. A claim ends with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{index:05}.claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def render_shard(folder: Path, seed: int, index: int, scenes: int, device: torch.device) -> None:
    """Renders one shard: at once on a GPU, one by one where memory is shared with other work."""
    rng = np.random.default_rng([seed, index])
    drawn = [sample_scene(rng) for _ in range(scenes)]
    batch = scenes if device.type == "cuda" else 1
    pictures, subjects = [], []
    for start in range(0, scenes, batch):
        part = drawn[start : start + batch]
        rendered, facts = render_with_facts(part, device)
        pictures.append(rendered.cpu().numpy())
        subjects += [
            Subject(own, {name: float(scene.numbers[name]) for name in NUMBERS})
            for own, scene in zip(facts, part, strict=True)
        ]
    write_shard(folder, index, np.concatenate(pictures), subjects, REVISION)
