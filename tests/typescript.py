"""The TypeScript client, built and installed for a test's programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

SOURCE: Final = Path(__file__).parents[1] / "clients/typescript"
_NODE: Final = (20, 0)


class Project:
    """A folder whose programs can import the client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, program: str, env: Mapping[str, str], folder: Path | None = None) -> str:
        """What the program printed. Without `folder`, it runs in the project's own."""
        file = self.folder / "program.mjs"
        file.write_text(program)
        kept = {name: value for name, value in os.environ.items() if "PANOWEAVE" not in name}
        done = subprocess.run(
            ["node", str(file)],
            cwd=folder or self.folder,
            env={**kept, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, program + done.stdout + done.stderr
        return done.stdout


def built(folder: Path) -> Project:
    """Skips the test where there is no Node, but not in CI."""
    if not _has_node():
        assert "CI" not in os.environ, "CI needs Node 20 or later, with npm"
        pytest.skip("no Node 20 or later, with npm, here")
    client = folder / "node_modules/panoweave-client"
    left_out = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(SOURCE, client, ignore=left_out)
    _run(client, "npm", "ci", "--ignore-scripts")
    _run(client, "npm", "run", "build")
    return Project(folder)


def _has_node() -> bool:
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.strip("v\n").split(".")[:2]) >= _NODE


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
