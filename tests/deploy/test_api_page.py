"""docs/api.md: every call is run, every answer and table compared with reality."""

from __future__ import annotations

import re

import pytest

from panoweave.core.jobs.failures import MEANINGS
from panoweave.service.http import errors
from panoweave.service.http.errors import ServiceError
from tests.deploy.pages import ROOT, Page, compared
from tests.deploy.stack import RunningStack, environment, with_panoweave

PAGE = Page(ROOT / "docs" / "api.md")


@pytest.fixture(scope="module")
def outputs(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("api")
    env = with_panoweave(environment(), folder, stack.home.root)
    try:
        return PAGE.run(stack.state().api_url, folder, env, steps=2)
    finally:
        stack.open_again()


@pytest.mark.parametrize("number", range(len(PAGE.answered())))
def test_every_answer_is_the_real_one(outputs: dict[str, str], number: int) -> None:
    command, answer = PAGE.answered()[number]
    real, shown = compared(answer, outputs[command.text])
    assert real == shown, command.text


def problems() -> list[type[ServiceError]]:
    known = [each for each in vars(errors).values() if isinstance(each, type)]
    kinds = [each for each in known if issubclass(each, ServiceError)]
    return [each for each in kinds if hasattr(each, "code")]


def test_every_problem_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+) \|$", PAGE.source, re.M)
    assert rows == [
        (str(kind.status), kind.code, kind.title)
        for kind in sorted(problems(), key=lambda kind: (kind.status, kind.code))
    ]


def test_every_failure_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (yes|no) \|$", PAGE.source, re.M)
    assert rows == [
        (code.value, meaning.detail, "yes" if meaning.retryable else "no")
        for code, meaning in MEANINGS.items()
    ]
