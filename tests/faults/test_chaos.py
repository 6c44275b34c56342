"""A small chaos in every run of the tests; `make chaos` is a large one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults import chaos


@pytest.mark.timeout(600)
def test_nothing_is_lost_whatever_dies(tmp_path: Path) -> None:
    seed = int(time.time())
    print(f"python -m tests.faults.chaos --jobs 60 --seed {seed}")
    for name, figure in chaos.run(tmp_path, 60, seed).rows():
        print(f"{name}: {figure}")
