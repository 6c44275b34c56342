"""A running service as the examples see it: an address, an API key and a webhook secret."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

EXAMPLES: Final = Path(__file__).parents[3] / "examples"
TENANT: Final = "ada"


@dataclass(frozen=True)
class Service:
    url: str
    api_key: str
    webhook_secret: str

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=70)

    def panoramas(self) -> list[dict[str, Any]]:
        with self.http() as http:
            items: list[dict[str, Any]] = http.get("/panoramas?limit=100").json()["items"]
        return items

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "PANOWEAVE" not in name}
        own = {"PANOWEAVE_URL": self.url, "PANOWEAVE_API_KEY": self.api_key}
        return kept | own | more

    def run(
        self, example: str, *arguments: str, cwd: Path, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(EXAMPLES / example), *arguments],
            cwd=cwd,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
        )

    @contextmanager
    def running(
        self, example: str, *arguments: str, cwd: Path, **more: str
    ) -> Iterator[subprocess.Popen[str]]:
        """An example that runs until the end of the block. Its output can be read line by line."""
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / example), *arguments],
            cwd=cwd,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
