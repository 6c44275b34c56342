"""A GPU's memory: less of it, what of it was used, and all of it given back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from bench.sections import finish_kernels

GIB: Final = 2**30


@contextmanager
def limited_to(limit: int) -> Iterator[None]:
    """As on a card with less memory; on a CPU, nothing is limited."""
    if not torch.cuda.is_available():
        yield
        return
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / whole))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def forget() -> None:
    gc.collect()
    if torch.cuda.is_available():
        finish_kernels()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float:
    return torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else 0.0
