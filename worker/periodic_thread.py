"""A function called regularly beside the main thread."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)


class PeriodicThread:
    """Calls `function` every `interval_s` from a thread of its own while the `with` block runs.

    An error is logged, and the next call comes all the same: heartbeats must survive a Redis that
    is away for a while.
    """

    def __init__(self, name: str, interval_s: float, function: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._function = function
        self._ended = threading.Event()
        # With the context variables of the caller, so that log lines carry the job's id.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            try:
                self._function()
            except Exception as error:
                log.warning("%s: %s: %s", self._thread.name, type(error).__name__, error)
