from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from panoweave.deploy.cli import main
from tests.deploy.stack import COMMAND, Cli, RunningStack, environment


@pytest.fixture
def cli() -> Cli:
    def run(
        *arguments: str, timeout_s: float = 120, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run


@pytest.fixture
def cli_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """As `cli`, but in this process: a new one would spend eight seconds importing torch."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        wanted = environment(**env)
        for name in set(os.environ) - set(wanted):
            monkeypatch.delenv(name)
        for name, value in wanted.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["panoweave", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[RunningStack]:
    """One stack for the tests that leave it running."""
    running = RunningStack(tmp_path_factory.mktemp("stack") / "var", tiny_checkpoint)
    yield running
    running.stop()
