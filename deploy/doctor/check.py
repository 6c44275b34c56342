"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

NO_WORKER_PART: Final = 'only a worker needs it: pip install "panoweave[worker]"'


@dataclass(frozen=True)
class Check:
    name: str
    level: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""
