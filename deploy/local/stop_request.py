"""Ctrl-C, SIGTERM and a closed terminal, as a question that a loop can ask."""

from __future__ import annotations

import faulthandler
import signal
from pathlib import Path
from types import FrameType

from panoweave.core.infra.stop_event import StopEvent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Asked once: stop in good order. Asked twice: stop now.

    The second request means that the first took too long: it writes what every thread is doing to
    the file `stacks`.
    """

    def __init__(self, stacks: Path) -> None:
        self._stacks = stacks
        self._asked = StopEvent()
        self._times = 0

    def listen(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._note)

    @property
    def in_a_hurry(self) -> bool:
        return self._times > 1

    def wait(self, timeout_s: float) -> bool:
        """True as soon as a stop was asked for."""
        return self._asked.wait(timeout_s)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._times += 1
        self._asked.set()
        if self._times == 2 and self._stacks.parent.exists():
            with self._stacks.open("w") as file:
                faulthandler.dump_traceback(file)
