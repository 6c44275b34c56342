"""panoweave's processes as an operator starts them, for tests to stop, kill or freeze."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from panoweave.core.infra.settings import Settings

_LAST_LINES = 40


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which a process reads these settings."""
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PANOWEAVE_")}
    secrets = {
        "redis_url": settings.redis_url.get_secret_value(),
        "s3_access_key_id": settings.s3_access_key_id.get_secret_value(),
        "s3_secret_access_key": settings.s3_secret_access_key.get_secret_value(),
    }
    values = {**settings.model_dump(exclude_none=True), **secrets}
    return kept | {f"PANOWEAVE_{name.upper()}": str(value) for name, value in values.items()}


@contextmanager
def process(command: str, settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`panoweave COMMAND`, killed at the end of the block if it still runs."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", "panoweave.deploy.cli", command],
            env=environment_of(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
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
