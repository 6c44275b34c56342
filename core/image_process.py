"""Reads a request's pictures in a process of their own, with bounds on its memory and time.

A decoder that hangs, or that unpacks a small file into gigabytes, is killed; the caller lives on.
The process knows no credentials: its environment is empty but for where Python finds its modules.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from panoweave.core.image_reader import MAX_IMAGE_BYTES, BadImage, read_image, to_png

CPU_S: Final = 30  # for all pictures of one request
MEMORY_BYTES: Final = 2**31  # a picture of 2^26 pixels takes about half in the worst case
_WALL_S: Final = 3 * CPU_S  # on a busy machine
_AT_ONCE: Final = 2
_WAITING: Final = 4
_SLOT_WAIT_S: Final = 10.0
_KEPT_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")

READER: Final = ["-m", "panoweave.core.image_process"]

slots = threading.BoundedSemaphore(_AT_ONCE)
places = threading.BoundedSemaphore(_AT_ONCE + _WAITING)


class ReadersBusy(Exception):
    """Too many requests bring pictures at the moment. Another try in a few seconds may succeed."""


class Size(NamedTuple):
    width: int
    height: int


class BadFile(BadImage):
    """A BadImage, and which of the files it is."""

    def __init__(self, index: int, problem: str, legal: str) -> None:
        super().__init__(problem, legal)
        self.index = index


def to_png_files(files: Sequence[Path]) -> list[Size]:
    """Turn picture files into PNG files of 8-bit sRGB, in place; their sizes in pixels.

    Raises BadFile for the first that cannot be read within the bounds, and ReadersBusy.
    """
    if not files:
        return []
    with _slot():
        return _collect(files, *_run(files))


@contextmanager
def _slot() -> Iterator[None]:
    """Few at once, few more waiting: threads that wait here are missing elsewhere."""
    if not places.acquire(blocking=False):
        raise ReadersBusy
    try:
        if not slots.acquire(timeout=_SLOT_WAIT_S):
            raise ReadersBusy
        try:
            yield
        finally:
            slots.release()
    finally:
        places.release()


def _run(files: Sequence[Path]) -> tuple[list[str], int | None]:
    """The reader's lines, one a picture, and its exit status; None where it was killed in time."""
    command = [sys.executable, "-P", *READER, *map(str, files)]
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as reader:
        try:
            output, _ = reader.communicate(timeout=_WALL_S)
        except subprocess.TimeoutExpired:
            reader.kill()
            output, _ = reader.communicate()
            return output.splitlines(), None
        return output.splitlines(), reader.returncode


def _collect(files: Sequence[Path], lines: Sequence[str], status: int | None) -> list[Size]:
    sizes = []
    for index, line in enumerate(lines):
        found = json.loads(line)
        if "problem" in found:
            raise BadFile(index, found["problem"], found["legal"])
        sizes.append(Size(found["width"], found["height"]))
    if len(sizes) < len(files):
        if status == 1:
            raise RuntimeError("the picture reader could not be started; run it by hand to see why")
        raise BadFile(
            len(sizes),
            f"it takes more than {CPU_S} s or {MEMORY_BYTES // 2**20:,} MB to read",
            "pictures with fewer pixels, or saved in a simpler way",
        )
    return sizes


def main(names: Sequence[str]) -> None:
    """The process: a line of JSON for each file, up to the first that cannot be read."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in names:
        path = Path(name)
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise BadImage(f"{path.stat().st_size:,} bytes", f"up to {MAX_IMAGE_BYTES:,} bytes")
            image = read_image(path.read_bytes())
            path.write_bytes(to_png(image))
        except MemoryError:
            return  # the caller sees that a line is missing
        except BadImage as error:
            _say(problem=error.problem, legal=error.legal)
            return
        _say(width=image.width, height=image.height)


def _say(**found: str | int) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
