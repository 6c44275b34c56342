"""Deterministic algorithms on a GPU: a seed and a resumed panorama give equal bits there too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# cuBLAS is deterministic only with a workspace of fixed size for each stream. The variable is read
# when CUDA is first used; a value that the user has set is left alone.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """While the block runs, operations on a GPU use deterministic algorithms.

    The fastest algorithms for the backward pass of attention and convolutions add in no fixed
    order. An operation without a deterministic algorithm raises RuntimeError. On a CPU there is
    nothing to do: sums have a fixed order there.
    """
    if device.type != "cuda":
        yield
        return
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        _fills_memory(),
    )
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it chooses algorithms by measuring their time
    _fill_memory(False)  # nothing here reads memory that it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]
        _fill_memory(before[3])


def _fills_memory() -> bool:
    return bool(torch.utils.deterministic.fill_uninitialized_memory)  # type: ignore[attr-defined]


def _fill_memory(on: bool) -> None:
    torch.utils.deterministic.fill_uninitialized_memory = on  # type: ignore[attr-defined]
