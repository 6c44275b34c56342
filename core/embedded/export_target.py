"""The directory that a training run writes its checkpoint to."""

from __future__ import annotations

import shutil
from pathlib import Path


def check_export_target(target: Path) -> None:
    """Raises ValueError if files would be lost that are no checkpoint."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f"{target} is not a directory")
    if any(target.iterdir()) and not (target / "model_index.json").exists():
        raise ValueError(f"{target} holds files that are no checkpoint: name a new directory")


def clear_export_target(target: Path) -> None:
    """Remove the checkpoint that is there. Raises ValueError as `check_export_target` does."""
    check_export_target(target)
    if target.exists():
        shutil.rmtree(target)
