"""Pages whose commands are run and whose answers are compared with real ones.

A `bash` block is a command; a `json`, `http` or `text` block right behind it is its answer. The
answers of a page are made anew, on a stack of its own with the model that ships, by

    python -m tests.deploy.pages docs/api.md
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
API: Final = "http://127.0.0.1:8000"
STEPS: Final = '"steps": 25'

_END_OF_BLOCK = "=== end of block ==="
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_ANSWERS = ("json", "http", "text")

# What differs from run to run, and what stands for it in a comparison.
_PASSING = (
    (r"\b(pano|whk|upl)_[a-z0-9]{26}(_\d+-\d+)?", r"\1"),
    (r"http://127\.0\.0\.1:\d+", "http://127.0.0.1"),
    (r"\b[0-9a-f]{64}\b", "sha256"),
    (r"\b[0-9a-f]{16}\b", "key"),
    (r"\b\d{13}-\d+\b", "event"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "time"),
    (r'"(step|total_steps)":\d+', r'"\1":0'),
    (r"\d+\.\d+", "0.0"),
)


class Block(NamedTuple):
    language: str
    text: str
    start: int  # of the text, in the page
    end: int


class Page:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = path.read_text()
        self.blocks = [
            Block(found[1], found[2], found.start(2), found.end(2))
            for found in _BLOCK.finditer(self.source)
        ]

    def texts(self, language: str) -> list[str]:
        return [block.text for block in self.blocks if block.language == language]

    def answered(self) -> list[tuple[Block, Block]]:
        """Each command that has an answer, with it."""
        return [
            (before, block)
            for before, block in pairwise(self.blocks)
            if before.language == "bash" and block.language in _ANSWERS
        ]

    def run(
        self, api_url: str, folder: Path, env: dict[str, str], steps: int | None = None
    ) -> dict[str, str]:
        """Run its commands in order, in one shell; what each prints, by its text."""
        commands = self.texts("bash")
        script = f"printf '%s\\n' '{_END_OF_BLOCK}'\n".join([*commands, ""])
        assert API in script
        assert STEPS in script
        script = script.replace(API, api_url)
        if steps is not None:
            script = script.replace(STEPS, f'"steps": {steps}')
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed = [each.removeprefix("\n") for each in done.stdout.split(_END_OF_BLOCK)]
        return dict(zip(commands, printed, strict=False))

    def with_answers(self, outputs: dict[str, str]) -> str:
        """The page with these answers in place of those it has."""
        source = self.source
        for command, answer in reversed(self.answered()):
            shown = _shown(answer.language, outputs[command.text])
            source = source[: answer.start] + shown + source[answer.end :]
        return source


def shape(value: Any) -> Any:
    """Keys all the way down; the values themselves differ from run to run."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


def comparable(language: str, text: str) -> Any:
    """What has to be the same in an answer that is shown and in the real one."""
    if language == "json":
        return shape(json.loads(text))
    if language == "http":
        head, _, body = text.replace("\r", "").strip().partition("\n\n")
        status, *headers = head.splitlines()
        names = {line.partition(":")[0].lower() for line in headers}
        return status, names, shape(json.loads(body)) if body else None
    text = _without_signatures(text.replace("\r", "").strip())
    for pattern, stands_for in _PASSING:
        text = re.sub(pattern, stands_for, text)
    return text


def _shown(language: str, printed: str) -> str:
    printed = printed.replace("\r", "").strip()
    if language == "json":
        return _pretty(printed) + "\n"
    if language == "http":
        head, _, body = printed.partition("\n\n")
        return f"{head}\n\n{_pretty(body)}\n" if body else f"{head}\n"
    return _without_signatures(printed) + "\n"


def _pretty(body: str) -> str:
    return _without_signatures(json.dumps(json.loads(body), indent=2, ensure_ascii=False))


def _without_signatures(text: str) -> str:
    return re.sub(r"\?(X-Amz|response-content)[^\"\s]*", "?…", text)


def main(arguments: Sequence[str]) -> None:
    from panoweave.deploy.local.background import background_stack
    from tests.deploy.stack import environment, with_panoweave

    (name,) = arguments
    page = Page(ROOT / name)
    os.environ["PANOWEAVE_WEBHOOK_TEST_TARGETS"] = "true"
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with background_stack(folder / "var", None) as api_url:
            env = with_panoweave(environment(), folder, folder / "var")
            outputs = page.run(api_url, folder, env)
    page.path.write_text(page.with_answers(outputs))


if __name__ == "__main__":
    main(sys.argv[1:])
