"""panoweave's processes as an operator starts them, for tests to stop, kill or freeze."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from pydantic import SecretStr

from panoweave.core.infra.settings import Settings
from panoweave.deploy.cli import main

_LAST_LINES = 40


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which a process reads these settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PANOWEAVE_")}
    values = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.model_dump(exclude_none=True).items()
    }
    return kept | {f"PANOWEAVE_{name.upper()}": str(value) for name, value in values.items()}


class Process:
    """`panoweave COMMAND`, forked from a process that has already imported what it needs.

    Importing torch and diffusers takes six seconds of CPU, which a new interpreter spends each
    time. Settings, logging, signals and exit codes are the process's own. The command in a new
    interpreter is what tests/deploy starts.
    """

    def __init__(self, command: str, env: dict[str, str], log: Path) -> None:
        self._process = forking().Process(target=_run, args=(command, env, log, Path.cwd()))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, as of subprocess.Popen: negative for a signal, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit status. Raises TimeoutError if it still runs then."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} still runs after {timeout_s:g} s")
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def forking() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    return context


def _run(command: str, env: dict[str, str], log: Path, folder: Path) -> None:
    """In the forked process."""
    os.setsid()  # a session of its own, by which those that it leaves behind are found
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["panoweave", *command.split()]
    main()


@contextmanager
def process(command: str, settings: Settings, log: Path) -> Iterator[Process]:
    """`panoweave COMMAND`, killed at the end of the block if it still runs."""
    running = Process(command, environment_of(settings), log)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def wait_until(
    true: Callable[[], bool], timeout_s: float, explain: Path | Callable[[], str] = str
) -> None:
    """Fails with the last lines of a log file, or of what `explain` returns."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            text = explain.read_text() if isinstance(explain, Path) else explain()
            last = "\n".join(text.splitlines()[-_LAST_LINES:])
            raise AssertionError(f"not within {timeout_s:g} s; {last}")
        time.sleep(0.05)
