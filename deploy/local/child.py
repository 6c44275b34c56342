"""One panoweave process of the stack: started, watched and stopped by its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from panoweave.deploy.local import tether

_LOG_KEPT_BYTES = 5_000_000
_TAIL_LINES = 15
_KILL_S = 10.0
_POLL_S = 0.05


class Child:
    """A command that can be started again under the same name, with its own log file.

    It runs in its own session: Ctrl-C reaches the parent alone, which stops its children in the
    right order. It is tethered: no child outlives a killed parent (see `tether`).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        *,
        grace_s: float,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self.grace_s = grace_s
        self._command = list(command)
        self._env = dict(env)
        self._orphan_signal = orphan_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        tethered = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        tethered += [str(int(self._orphan_signal)), *self._command]
        with self._open_log() as log:
            self._process = subprocess.Popen(
                tethered,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_status(self) -> int | None:
        """None while it runs; a negative number is the signal that ended it."""
        return None if self._process is None else self._process.poll()

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> bool:
        """SIGKILL. False where even that does not end it: it hangs inside a system call."""
        if self._process is None:
            return True
        self._process.kill()
        try:
            self._process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> bool:
        """SIGTERM, and SIGKILL after `grace_s`. May be called again. False as for `kill`."""
        self.ask_to_stop()
        deadline = time.monotonic() + self.grace_s
        while self.exit_status() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self.kill()

    def log_tail(self) -> str:
        """The last lines of its log, which usually say why it ended."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-_TAIL_LINES:])

    def _open_log(self) -> IO[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))
        return self.log.open("ab")
