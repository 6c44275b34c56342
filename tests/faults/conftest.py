from __future__ import annotations

from pathlib import Path

import pytest

from tests.core import tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that worker processes can load."""
    folder = tmp_path_factory.mktemp("faults-checkpoint")
    tiny.pipeline(folder / "words").save_pretrained(folder / "model")
    return folder / "model"
