"""The client as it is installed: with panoweave, and without."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "clients/python/src"


@pytest.mark.slow
@pytest.mark.parametrize("project", [".", "clients/python"])
def test_the_wheel_holds_the_whole_client(project: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), project]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    files = {
        str(path.relative_to(SOURCE)): path.read_bytes()
        for path in (SOURCE / "panoweave_client").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "panoweave_client/py.typed" in files
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("panoweave_client/")}
        assert packed == files.keys()
        assert {name: archive.read(name) for name in packed} == files
