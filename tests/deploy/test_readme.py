"""The README does what it says: its blocks are run, and its answers compared with the real ones.

`bash` blocks run as they stand, in order, in one shell, against a live `panoweave up`; only the
address and the number of steps are swapped. `sh` blocks install or never end: each line must name
a target or command that exists, and other tests run those.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from panoweave.deploy.cli import app
from tests.deploy.pages import ROOT, Page, compared
from tests.deploy.stack import RunningStack, environment

PAGE = Page(ROOT / "README.md")
MAX_LINES = 150
COMMANDS: set[str] = set(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def outputs(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("readme")
    outputs = PAGE.run(stack.state().api_url, folder, environment(), steps=2)
    assert (folder / "panorama.png").read_bytes().startswith(b"\x89PNG")
    return outputs


def test_every_answer_shown_has_the_keys_of_the_real_one(outputs: dict[str, str]) -> None:
    shown = PAGE.answered()
    assert len(shown) == len(PAGE.texts("json")) == 2
    for command, answer in shown:
        real, expected = compared(answer, outputs[command.text])
        assert real == expected, command.text


def test_the_panorama_of_the_readme_succeeds(outputs: dict[str, str]) -> None:
    waited = next(output for block, output in outputs.items() if block.startswith("ID="))
    assert json.loads(waited)["status"] == "succeeded"


def test_what_is_not_run_here_exists() -> None:
    lines = [line for text in PAGE.texts("sh") for line in text.splitlines()]
    assert lines
    for line in lines:
        program, argument = line.removeprefix(".venv/bin/").split()
        if program == "make":
            subprocess.run(["make", "-n", argument], cwd=ROOT, check=True, capture_output=True)
        else:
            assert program == "panoweave"
            assert argument in COMMANDS


def test_the_python_block_runs(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = PAGE.texts("python")
    smaller = program.replace("str(WEIGHTS)", repr(str(tiny_checkpoint)))
    smaller = smaller.replace("seed=7)", "seed=7, steps=2, width=128)")
    assert str(tiny_checkpoint) in smaller
    assert "steps=2" in smaller
    (tmp_path / "block.py").write_text(smaller)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("block.py")
    assert (tmp_path / "lake.png").exists()


def test_every_command_is_in_the_table() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `panoweave ")]
    named = {name for row in rows for name in re.findall(r"`panoweave (\w[\w-]*)", row)}
    assert named == COMMANDS
    targets = re.findall(r"^\| `make (\w[\w-]*)", page, re.M)
    assert len(targets) >= 5
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_it_is_short() -> None:
    assert len(PAGE.source.splitlines()) <= MAX_LINES
