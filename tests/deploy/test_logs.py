"""Which records reach stderr, and at which level."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from panoweave.deploy.serve.logs import log_to_stderr
log_to_stderr(sys.argv[1])
for name in ("panoweave.worker.main", "rq.worker", "httpx"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "something happened")
"""


@pytest.mark.parametrize(
    ("level", "ours"),
    [
        ("DEBUG", ["debug", "info", "warning"]),
        ("INFO", ["info", "warning"]),
        ("WARNING", ["warning"]),
    ],
)
def test_the_level_is_that_of_panoweaves_own_lines(level: str, ours: list[str]) -> None:
    """Libraries log nothing below INFO; httpx's INFO lines would show presigned URLs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level], check=True, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    seen = {
        name: [line["level"] for line in lines if line["logger"] == name]
        for name in ("panoweave.worker.main", "rq.worker", "httpx")
    }
    libraries = ["warning"] if level == "WARNING" else ["info", "warning"]
    assert seen == {"panoweave.worker.main": ours, "rq.worker": libraries, "httpx": ["warning"]}
