"""A small chaos in every run of the tests, a larger one in `make test-all`.

`make chaos` runs the largest, and writes its report.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults import chaos


def check(folder: Path, checkpoint: Path, jobs: int, seed: int) -> None:
    print(f"python -m tests.faults.chaos --jobs {jobs} --seed {seed}")
    for name, figure in chaos.run(folder, checkpoint, jobs, seed).rows():
        print(f"{name}: {figure}")


@pytest.mark.timeout(600)
def test_nothing_is_lost_whatever_dies(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Always the same faults in the same order, though not at the same moments."""
    check(tmp_path, tiny_checkpoint, 15, seed=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_whatever_else_dies(tmp_path: Path, tiny_checkpoint: Path) -> None:
    check(tmp_path, tiny_checkpoint, 60, seed=int(time.time()))
