from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.stack import COMMAND, Cli, RunningStack, environment


@pytest.fixture
def cli() -> Cli:
    def run(*arguments: str, timeout_s: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[RunningStack]:
    """One stack for the tests that leave it running."""
    running = RunningStack(tmp_path_factory.mktemp("stack") / "var", tiny_checkpoint)
    yield running
    running.stop()
