"""Equal bits from equal input on a GPU: what a seed, and an interrupted panorama, rest on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# With one workspace for each stream, fixed in size, cuBLAS sums in one order. It is read when
# CUDA is first used; what the person has set stands.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def equal_bits(device: torch.device) -> Iterator[None]:
    """While the block runs, every operation on a GPU takes an algorithm whose sums have an order.

    Backwards through attention and convolutions the fastest ones have none. An operation that
    knows no other raises RuntimeError. Nothing to do on a CPU, whose sums have one anyway.
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
    torch.backends.cudnn.benchmark = False  # it picks by the clock
    _fill_memory(False)  # nothing here reads what it did not write
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
