"""The README does what it says: its blocks are run, its answers and tables compared with reality.

`bash` blocks run as they stand, in order, in one shell, against a live `panoweave up`; only the
address and the number of steps are swapped. `sh` blocks install or never end: each line must name
a target or command that exists, and other tests run those.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.main import get_command

from panoweave.core.infra.settings import Settings
from panoweave.deploy.cli import app
from tests.deploy.conftest import RunningStack, environment
from tests.deploy.pages import ROOT, Page, comparable

PAGE = Page(ROOT / "README.md")
README = PAGE.source
COMMANDS: set[str] = set(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def outputs(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("readme")
    outputs = PAGE.run(stack.state().api_url, folder, environment(), steps=2)
    assert (folder / "panorama.png").read_bytes().startswith(b"\x89PNG")
    return outputs


def test_every_answer_shown_has_the_keys_of_the_real_one(outputs: dict[str, str]) -> None:
    shown = PAGE.answered()
    assert len(shown) == len(PAGE.texts("json")) == 3
    for command, answer in shown:
        # The tests' tiny model reads 14 letters: of longer prompts it warns, as it should.
        real = re.sub(r'"warnings":\[.*?\]', '"warnings":[]', outputs[command.text])
        assert comparable("json", real) == comparable("json", answer.text), command.text


def test_the_panorama_of_the_readme_succeeds(outputs: dict[str, str]) -> None:
    polled = next(said for block, said in outputs.items() if block.startswith("ID="))
    assert json.loads(polled)["status"] == "succeeded"


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


def test_the_python_block_runs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (program,) = PAGE.texts("python")
    smaller = program.replace("str(WEIGHTS)", repr(str(tiny_checkpoint)))
    smaller = smaller.replace("seed=7)", "seed=7, steps=2, width=128)")
    assert str(tiny_checkpoint) in smaller
    assert "steps=2" in smaller
    subprocess.run(
        [sys.executable, "-c", smaller], cwd=tmp_path, env=environment(), check=True, timeout=120
    )
    assert (tmp_path / "lake.png").exists()


def test_the_settings_table_is_complete_and_true() -> None:
    rows = re.findall(r"^\| `PANOWEAVE_(\w+)` \| (.+?) \|", README, re.M)
    written = {name.lower(): default.strip("`") for name, default in rows}
    defaults = {
        name: field.default.get_secret_value()
        if isinstance(field.default, SecretStr)
        else field.default
        for name, field in Settings.model_fields.items()
    }
    assert written == {
        name: "none" if default is None else str(default).replace("False", "false")
        for name, default in defaults.items()
    }


def test_every_command_is_named() -> None:
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(?:panoweave |make )?(\w[\w-]*)", table))
    assert named >= COMMANDS


def test_every_path_of_the_tree_exists() -> None:
    tree = next(block.text for block in PAGE.blocks if block.language == "")
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/README.md",
        "docs/api.md",
        "docs/clients.md",
        "docs/deployment.md",
        "docs/operations.md",
        "docs/reliability.md",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target).exists(), target
