"""Ctrl-C, SIGTERM and a closed terminal, as a question that a loop can ask."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Asked once: stop in good order. Asked twice: stop now."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._times = 0

    def listen(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
                signal.signal(number, self._note)

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    @property
    def in_a_hurry(self) -> bool:
        return self._times > 1

    def wait(self, timeout_s: float) -> bool:
        """True as soon as a stop was asked for."""
        return self._asked.wait(timeout_s)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._times += 1
        self._asked.set()
