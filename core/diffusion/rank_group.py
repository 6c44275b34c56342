"""Several ranks on one machine, over torch.distributed: NCCL between GPUs, gloo between CPUs.

Ranks agree over gloo also where their results go over NCCL: gloo notices at once that a process has
ended, and NCCL waits.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.errors import DiffusionError, RankFailedError
from panoweave.core.diffusion.ranks import Ranks

T = TypeVar("T")

# No limit: ranks wait for work, and a worker's watchdog ends one that waits for a hung one.
_NO_TIMEOUT: Final = timedelta(days=3_650)
_ROW_DIMENSIONS: Final = 3
_FAILURES: Final = (DiffusionError, InvalidParams, torch.OutOfMemoryError)
# Logs at DEBUG whatever the level is, and what `RankLost` says already.
_TORCHS_LOGGER: Final = "c10d-NullHandler-default"
# Ranks of one machine talk over loopback: what they receive is trusted.
_LOOPBACK: Final = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class RankLost(Exception):
    """Another rank has ended, or is out of step. This group of processes cannot go on."""


class RankStopped(Exception):
    """Another rank has stopped this panorama; the group goes on with the next one."""


class _Code(IntEnum):
    """How it goes on with a rank. Of several, the highest decides."""

    GOES_ON = 0
    OUT_OF_MEMORY = 1
    FAILED = 2
    STOPPED = 3


class RankGroup(Ranks):
    """Every rank makes the same calls in the same order."""

    def __init__(self, folder: Path, rank: int, size: int, device: torch.device) -> None:
        """Returns when all ranks are there. `folder`: an empty one, private to this group."""
        self.rank, self.size = rank, size
        self.bytes_received = 0
        self._device = device
        self._exchange = 0  # its number; all ranks are at the same
        self._is_ended = False  # all ranks know that this panorama has ended
        self._memory_ran_out_elsewhere = False
        os.environ.update(_LOOPBACK)
        logging.getLogger(_TORCHS_LOGGER).propagate = False
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        # A file and not a port: nobody else on this machine can join.
        store = dist.FileStore(  # type: ignore[attr-defined]
            str(folder / "ranks"), size
        )
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=_NO_TIMEOUT
        )

    def close(self) -> None:
        dist.destroy_process_group()

    def share(self, batches: Sequence[Sequence[int]], tensor: Tensor) -> None:
        if not batches:
            return
        rows_of = [
            [row for batch in batches[rank :: self.size] for row in batch]
            for rank in range(self.size)
        ]
        mine = [tensor[row] for row in rows_of[self.rank]]
        for rank, received in enumerate(self._gather(mine)):
            if rank != self.rank:
                for row, values in zip(rows_of[rank], received, strict=True):
                    tensor[row] = values

    def in_turn(self, items: Iterable[T], compute: Callable[[T], Tensor]) -> Iterator[Tensor]:
        remaining = iter(items)
        while batch := list(islice(remaining, self.size)):
            mine = [compute(item) for item in batch[self.rank : self.rank + 1]]
            everyones = self._gather([each.to(self._device) for each in mine])
            for each in everyones[: len(batch)]:
                yield each[0].cpu()

    @contextmanager
    def together(self) -> Iterator[None]:
        self._exchange, self._is_ended, self._memory_ran_out_elsewhere = 0, False, False
        try:
            yield
        except RankLost:
            raise
        except BaseException as error:
            if not self._is_ended:
                self._exchange_codes(
                    _Code.FAILED if isinstance(error, _FAILURES) else _Code.STOPPED
                )
            raise

    def retry_together(self, step: int) -> None:
        if not self._memory_ran_out_elsewhere:
            self._decide(self._exchange_codes(_Code.OUT_OF_MEMORY), is_mine=True)
        self._memory_ran_out_elsewhere = False
        # One rank may have finished a step that another has not: they cannot go on together.
        self._exchange = step
        self._agree()
        self._exchange = 0

    def finish(self) -> None:
        self._agree()

    def broadcast(self, value: Any) -> Any:
        """The first rank's value. Pickled: the ranks are one program on one machine."""
        values = [value if self.rank == 0 else None]
        with _lost_if_it_fails():
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def all_values(self, value: Any) -> list[Any]:
        """Every rank's value, by rank."""
        values: list[Any] = [None] * self.size
        with _lost_if_it_fails():
            dist.all_gather_object(values, value)
        return values

    def _gather(self, rows: Sequence[Tensor]) -> list[list[Tensor]]:
        """The rows (3 dimensions) of every rank, by rank."""
        counts, shape = self._agree(rows)
        padded = torch.zeros(max(counts), *shape, device=self._device)
        for number, row in enumerate(rows):
            padded[number] = row
        everyones = [torch.empty_like(padded) for _ in range(self.size)]
        with _lost_if_it_fails():
            dist.all_gather(everyones, padded)
        self.bytes_received += padded.nbytes * (self.size - 1)
        return [list(each[:count]) for each, count in zip(everyones, counts, strict=True)]

    def _agree(self, rows: Sequence[Tensor] = ()) -> tuple[list[int], list[int]]:
        """Exchange that it goes on; how many rows each rank has, and their shape.

        Raises what the highest code of all ranks asks for.
        """
        reports = self._exchange_codes(_Code.GOES_ON, rows)
        self._decide(reports, is_mine=False)
        if len({exchange for _, exchange, *_ in reports}) > 1:
            raise RankLost("the ranks are out of step with one another")
        self._exchange += 1
        shapes = [shape for _, _, count, *shape in reports if count]
        shape = shapes[0] if shapes else [0] * _ROW_DIMENSIONS
        return [count for _, _, count, *_ in reports], shape

    def _exchange_codes(self, code: _Code, rows: Sequence[Tensor] = ()) -> list[list[int]]:
        shape = list(rows[0].shape) if rows else [0] * _ROW_DIMENSIONS
        mine = torch.tensor([int(code), self._exchange, len(rows), *shape])
        everyones = [torch.empty_like(mine) for _ in range(self.size)]
        with _lost_if_it_fails():
            dist.all_gather(everyones, mine)
        self.bytes_received += mine.nbytes * (self.size - 1)
        return [each.tolist() for each in everyones]

    def _decide(self, reports: Sequence[Sequence[int]], *, is_mine: bool) -> None:
        match _Code(max(code for code, *_ in reports)):
            case _Code.STOPPED:
                self._is_ended = True
                raise RankStopped
            case _Code.FAILED:
                self._is_ended = True
                raise RankFailedError
            case _Code.OUT_OF_MEMORY if not is_mine:
                self._memory_ran_out_elsewhere = True
                raise torch.OutOfMemoryError("another rank ran out of memory")


@contextmanager
def _lost_if_it_fails() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.distributed's errors are that
        raise RankLost("another rank has ended") from error
