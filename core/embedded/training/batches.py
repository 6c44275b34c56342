"""Draws what each step of a run looks at; beside the run, where the device would wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

from panoweave.core.embedded.training.runs import Phase

Drawn = TypeVar("Drawn")
_AHEAD = 4  # steps that each process is ahead


def batches(
    draw: Callable[[int, Phase], Drawn],
    phase_of: Callable[[int], Phase],
    steps: range,
    processes: int,
) -> Iterator[Drawn]:
    """`draw(step, phase)` of each step, in order.

    `processes` of them work ahead; with 0 each batch is drawn when it is asked for. `phase_of` is
    called here, step by step. `draw` follows from its arguments alone, so the batches are the same.
    """
    loader = DataLoader(
        _Draws(draw),
        batch_size=None,
        sampler=((step, phase_of(step)) for step in steps),
        collate_fn=_as_drawn,
        num_workers=processes,
        prefetch_factor=_AHEAD if processes else None,
    )
    return iter(loader)


class _Draws(Dataset[Drawn], Generic[Drawn]):
    def __init__(self, draw: Callable[[int, Phase], Drawn]) -> None:
        self._draw = draw

    def __getitem__(self, key: tuple[int, Phase]) -> Drawn:
        return self._draw(*key)


def _as_drawn(drawn: Drawn) -> Drawn:
    return drawn
