"""The presets: what a request gets where it says nothing else. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

PresetName = Literal["paper", "balanced", "fast"]
Windows = Literal["overlapping", "shifted"]
Decoder = Literal["full", "tiny"]
SchedulerName = Literal["ddim", "euler", "dpm++", "lcm"]
MAX_LCM_STEPS: Final = 50  # as many as such models were distilled from
DEFAULT_PRESET: Final[PresetName] = "balanced"


@dataclass(frozen=True)
class Preset:
    """What a request gets where it says nothing else. Chosen by measurement: docs/benchmarks.md."""

    steps: int
    windows: Windows
    weight: float
    decay: float
    max_move: float | None  # None: no bound
    sync_share: float  # of all steps, the first ones
    every: int
    decoder: Decoder  # "tiny" where the checkpoint has one
    reuse_prediction: bool


PRESETS: Final[Mapping[PresetName, Preset]] = MappingProxyType(
    {
        # The paper's setting, exact: Algorithm 1 at every step.
        "paper": Preset(50, "overlapping", 20, 0.95, None, 1.0, 1, "full", False),
        "balanced": Preset(50, "shifted", 28, 1, 0.05, 0.9, 1, "tiny", True),
        "fast": Preset(30, "shifted", 42, 1, 0.058, 0.9, 1, "tiny", True),
    }
)
