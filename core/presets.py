"""The presets: values for the fields that a request leaves open. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

PresetName = Literal["paper", "balanced", "fast"]
Windows = Literal["overlapping", "shifted"]
Decoder = Literal["full", "tiny"]
Gradient = Literal["guided", "conditional", "gaussian"]
SchedulerName = Literal["ddim", "euler", "dpm++", "lcm"]
MAX_LCM_STEPS: Final = 50  # such checkpoints were distilled from this many steps
DRAFT_STEPS: Final = 9  # up to this many steps, a panorama is a draft: one move in each
DEFAULT_PRESET: Final[PresetName] = "balanced"

# Each preset is shaped like the request that would ask for the same values by field name. The
# values were chosen by measurement: docs/benchmarks.md. The decoder "tiny" applies where the
# checkpoint has one.
PRESETS: Final[Mapping[PresetName, Mapping[str, Any]]] = MappingProxyType(
    {
        # The paper's own setting: Algorithm 1 at every step.
        "paper": {
            "steps": 50,
            "windows": "overlapping",
            "sync": {
                "weight": 20,
                "decay": 0.95,
                "max_move": None,
                "every": 1,
                "decoder": "full",
                "reuse_prediction": False,
                "gradient": "guided",
            },
        },
        "balanced": {
            "steps": 50,
            "windows": "shifted",
            "sync": {
                "weight": 28,
                "decay": 1,
                "max_move": 0.05,
                "tuned_steps": 50,
                "every": 1,
                "decoder": "tiny",
                "reuse_prediction": True,
                "gradient": "gaussian",
            },
        },
        "fast": {
            "steps": 30,
            "windows": "shifted",
            "sync": {
                "weight": 42,
                "decay": 1,
                "max_move": 0.058,
                "tuned_steps": 30,
                "every": 1,
                "decoder": "tiny",
                "reuse_prediction": True,
                "gradient": "gaussian",
            },
        },
    }
)

# `sync.tuned_steps` for checkpoints that were distilled to a few steps: each of these makes several
# moves. Fewer moves than the preset's are enough, since such steps are further apart.
FEW_STEPS_MOVES: Final[Mapping[PresetName, int]] = MappingProxyType({"balanced": 32, "fast": 24})

# The default of `sync.steps`, as a share of the steps that the request has.
SYNC_SHARES: Final[Mapping[PresetName, float]] = MappingProxyType(
    {"paper": 1.0, "balanced": 0.9, "fast": 0.9}
)
