"""How long the parts of a panorama take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def clock(timings: dict[str, float], part: str) -> Iterator[None]:
    """Note the seconds that the block takes."""
    begin = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # kernels run on after the call returns
    timings[part] = timings.get(part, 0.0) + time.perf_counter() - begin
