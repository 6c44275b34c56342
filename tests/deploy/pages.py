"""Pages whose commands are run and whose answers are compared with real ones.

A `bash` block is a command. A `json`, `http` or `text` block directly after it is its answer. A
JSON object with the key "…" leaves out some keys of the real answer. This command runs a page on a
stack of its own, with the embedded model, and replaces the page's answers with the real ones:

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

from panoweave.deploy.local.ports import free_port

ROOT: Final = Path(__file__).parents[2]
API: Final = "http://127.0.0.1:8000"
STEPS: Final = '"steps": 25'
RECEIVER_PORT: Final = "8765"
LEFT_OUT: Final = "…"

_END_OF_BLOCK = "=== end of block ==="
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_ANSWERS = ("json", "http", "text")

# What differs from run to run, and what replaces it in a comparison.
_VOLATILE = (
    (r"\b(pano|batch|whk|upl)_[a-z0-9]{26}(_\d+-\d+)?", r"\1"),
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
        """Each command that has an answer, and that answer."""
        return [
            (before, block)
            for before, block in pairwise(self.blocks)
            if before.language == "bash" and block.language in _ANSWERS
        ]

    def run(
        self, api_url: str, folder: Path, env: dict[str, str], steps: int | None = None
    ) -> dict[str, str]:
        """Run the page's commands in order, in one shell. Returns each output by its text."""
        commands = self.texts("bash")
        script = f"printf '%s\\n' '{_END_OF_BLOCK}'\n".join([*commands, ""])
        assert API in script
        assert STEPS in script
        script = script.replace(API, api_url).replace(RECEIVER_PORT, str(free_port()))
        if steps is not None:
            script = script.replace(STEPS, f'"steps": {steps}')
        (folder / "examples").symlink_to(ROOT / "examples")  # as in a checkout
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
        """The page's source with its answers replaced by these outputs."""
        source = self.source
        for command, answer in reversed(self.answered()):
            shown = _shown(answer, outputs[command.text])
            source = source[: answer.start] + shown + source[answer.end :]
        return source


def compared(answer: Block, output: str) -> tuple[Any, Any]:
    """The real output and the page's answer, reduced to what must be equal."""
    shown = _parts(answer.language, answer.text)
    return _shape(_cut(_parts(answer.language, output), shown)), _shape(shown)


class _Parts(NamedTuple):
    """An answer without its values that change from run to run; `body` is parsed JSON."""

    text: Any
    body: Any = None


def _parts(language: str, answer: str) -> _Parts:
    answer = answer.replace("\r", "").strip()
    if language == "json":
        return _Parts("", json.loads(answer))
    if language == "http":
        head, _, body = answer.partition("\n\n")
        status, *headers = head.splitlines()
        names = {line.partition(":")[0].lower() for line in headers}
        return _Parts((status, names), json.loads(body) if body else None)
    answer = _without_signatures(answer)
    for pattern, replacement in _VOLATILE:
        answer = re.sub(pattern, replacement, answer)
    return _Parts(answer)


def _cut(real: Any, shown: Any) -> Any:
    """The real value without the keys that the shown value leaves out with "…"."""
    if isinstance(real, _Parts):
        return _Parts(real.text, _cut(real.body, shown.body))
    if isinstance(real, dict) and isinstance(shown, dict):
        kept = {key: _cut(value, shown[key]) for key, value in real.items() if key in shown}
        left_out = {key: value for key, value in real.items() if key not in shown}
        if LEFT_OUT not in shown:
            return kept | left_out
        return kept | ({LEFT_OUT: shown[LEFT_OUT]} if left_out else {})
    if isinstance(real, list) and isinstance(shown, list):
        return [_cut(*pair) for pair in zip(real, shown, strict=False)] + real[len(shown) :]
    return real


def _shape(value: Any) -> Any:
    """All keys, without the values of JSON and lists of them: they differ from run to run."""
    if isinstance(value, _Parts):
        return value.text, _shape(value.body)
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        return [_shape(inner) for inner in value]
    return None


def _shown(answer: Block, output: str) -> str:
    output = output.replace("\r", "").strip()
    if answer.language == "json":
        return _pretty(_cut(json.loads(output), json.loads(answer.text)))
    if answer.language == "http":
        head, _, body = output.partition("\n\n")
        shown = answer.text.strip().partition("\n\n")[2]
        return (
            f"{head}\n\n{_pretty(_cut(json.loads(body), json.loads(shown)))}"
            if body
            else f"{head}\n"
        )
    return _without_signatures(output) + "\n"


def _pretty(body: Any) -> str:
    return _without_signatures(json.dumps(body, indent=2, ensure_ascii=False)) + "\n"


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
