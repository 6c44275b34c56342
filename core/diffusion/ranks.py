"""One panorama on several devices: processes (*ranks*) that share the batches of each step.

All ranks run the same program on the same request, and hold the whole canvas. Of the batches of
windows, and of the tiles at the end, each computes its share; then all get all results, in a fixed
order. What is small (the merge, the scheduler's step) every rank computes for itself. So the bits
are those of one device with the same batches.

Before results are exchanged, ranks agree on how it goes on: one that has failed or is asked to stop
stops all of them, and nobody waits for results that will not come. `Ranks` here is one process
alone; `rank_group` has several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


class Ranks:
    """One process alone: it computes everything, and has nobody to exchange with."""

    size = 1
    rank = 0

    def mine(self, batches: Sequence[T]) -> Sequence[T]:
        """The batches that this rank computes: every `size`-th."""
        return batches[self.rank :: self.size]

    def rounded_up(self, batches: int, most: int) -> int:
        """At least so many batches that every rank has as many, if there are enough windows."""
        return min(most, -(-batches // self.size) * self.size)

    def share(self, batches: Sequence[Sequence[int]], tensor: Tensor) -> None:
        """Fill in the rows of a tensor (N, ...) that other ranks have computed, batch by batch.

        `batches`: the numbers of the rows in each batch of all ranks.
        """

    def in_turn(self, items: Iterable[T], compute: Callable[[T], Tensor]) -> Iterator[Tensor]:
        """Compute a tensor (3 dimensions, one shape for all) for each item; yields them in order.

        The ranks compute one item each at a time.
        """
        return map(compute, items)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around all that ranks compute for one panorama: an exception that leaves the block on one
        rank ends it on all."""
        yield

    def retry_together(self, step: int) -> None:
        """This rank is out of memory, and will go on after a step: all others will, too."""

    def finish(self) -> None:
        """Wait until all ranks have computed the panorama."""


ONE_RANK = Ranks()
