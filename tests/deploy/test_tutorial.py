"""docs/tutorial.md: every step is run in order, and every answer compared with the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.pages import ROOT, Page, compared
from tests.deploy.stack import RunningStack, environment, with_panoweave

PAGE = Page(ROOT / "docs" / "tutorial.md")
NEVER_ENDS = "PANOWEAVE_WEBHOOK_TEST_TARGETS=true .venv/bin/panoweave up"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def outputs(stack: RunningStack, folder: Path) -> dict[str, str]:
    env = with_panoweave(environment(), folder, stack.home.root)
    return PAGE.run(stack.state().api_url, folder, env, steps=2)


@pytest.mark.parametrize("number", range(len(PAGE.answered())))
def test_every_answer_is_the_real_one(outputs: dict[str, str], number: int) -> None:
    command, answer = PAGE.answered()[number]
    real, shown = compared(answer, outputs[command.text])
    assert real == shown, command.text


@pytest.mark.usefixtures("outputs")
def test_it_ends_with_both_pictures(folder: Path) -> None:
    for name in ("panorama.png", "plain.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG"), name
    assert (folder / "panorama.png").read_bytes() != (folder / "plain.png").read_bytes()


def test_the_commands_that_are_not_run_here_are_the_readmes() -> None:
    assert [text.strip() for text in PAGE.texts("sh")] == ["make demo", NEVER_ENDS]
