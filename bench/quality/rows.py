"""What is compared: MultiDiffusion, the presets, and single options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench import presets
from panoweave.core.params import PanoramaParams, SyncParams

Changes = Mapping[str, Any]  # fields of a request, by name

BASELINE: Final = presets.BASELINE
ROWS: Final[Mapping[str, Changes]] = presets.ROWS
OPTIONS: Final[Mapping[str, Changes]] = {
    **presets.PARTS,
    "MultiDiffusion, ring": {**presets.ROWS[BASELINE], "loop": True},
    "balanced, ring": {"preset": "balanced", "loop": True},
}


def ask(changes: Changes, prompt: str, seed: int, window_px: int, windows: int) -> PanoramaParams:
    """The request for a panorama of a row, `windows` wide and one high."""
    size = {"width": windows * window_px, "height": window_px}
    fields: dict[str, Any] = {**size, **changes, "sync": SyncParams(**changes.get("sync", {}))}
    return PanoramaParams(prompt=prompt, seed=seed, **fields)
