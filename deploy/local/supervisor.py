"""Restarts the stack's processes when they end, and stops them in order.

This module knows nothing of Redis, S3 or the API: a child is a command that runs or has ended.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from panoweave.deploy.local.child import Child

Say = Callable[[str], None]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_SLOW_S = 2.0
_STEADY_AFTER_S = 60.0  # a child that ran this long is restarted after the shortest pause


@dataclass
class _Watched:
    child: Child
    started_at: float = field(default_factory=time.monotonic)
    early_deaths: int = 0
    restart_at: float | None = None

    def plan_restart(self, now: float) -> float:
        """Back off while it keeps ending early: 1, 2, 4 ... 30 s."""
        steady = now - self.started_at > _STEADY_AFTER_S
        self.early_deaths = 1 if steady else self.early_deaths + 1
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** (self.early_deaths - 1), _LONGEST_PAUSE_S)
        self.restart_at = now + pause_s
        return pause_s


class Supervisor:
    """Call `tend` regularly, and from the main thread: Linux ends a tethered child when the
    thread that started it ends."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._watched: list[_Watched] = []

    def start(self, child: Child) -> None:
        child.start()
        self._watched.append(_Watched(child))

    def pids(self) -> dict[str, int]:
        children = (watched.child for watched in self._watched if watched.restart_at is None)
        return {child.name: child.pid for child in children if child.pid is not None}

    def dying_again_and_again(self, times: int) -> Child | None:
        """A child that ended this many times in a row, each time soon after its start."""
        return next((w.child for w in self._watched if w.early_deaths >= times), None)

    def tend(self) -> bool:
        """Check every child once, and restart those that are due. True if any pid changed."""
        changes = [self._tend_one(watched) for watched in self._watched]
        return any(changes)

    def _tend_one(self, watched: _Watched) -> bool:
        child, now = watched.child, time.monotonic()
        if watched.restart_at is not None:
            if now < watched.restart_at:
                return False
            child.start()
            watched.started_at, watched.restart_at = now, None
            self._say(f"{child.name} runs again (pid {child.pid})")
            return True
        status = child.exit_status()
        if status is None:
            return False
        pause_s = watched.plan_restart(now)
        self._say(
            f"{child.name} {_describe(status)}; starting it again in {pause_s:.0f} s "
            f"(its log: {child.log})"
        )
        return True

    def stop(self, in_a_hurry: Callable[[], bool]) -> None:
        """Stop the children one after the other, in reverse order of their start."""
        while self._watched:
            child = self._watched.pop().child
            if child.exit_status() is None:
                self._stop_one(child, in_a_hurry)

    def _stop_one(self, child: Child, in_a_hurry: Callable[[], bool]) -> None:
        child.ask_to_stop()
        asked_at, is_announced = time.monotonic(), False
        while child.exit_status() is None:
            waited_s = time.monotonic() - asked_at
            if in_a_hurry() or waited_s > child.grace_s:
                self._say(f"{child.name} was still busy after {waited_s:.0f} s: killed")
                if not child.kill():
                    self._say(f"{child.name} (pid {child.pid}) survives SIGKILL: left behind")
                return
            if waited_s > _SLOW_S and not is_announced:
                is_announced = True
                self._say(f"waiting for {child.name} to end (Ctrl-C again: kill it)")
            time.sleep(0.05)


def _describe(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
