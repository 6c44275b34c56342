"""What can go wrong while a panorama is made.

DiffusionError
|-- UnsupportedSchedulerError   this scheduler cannot step overlapping windows
|-- CheckpointError             the checkpoint is missing, or of a format that is not known
|-- PerceptualWeightsError      the perceptual network's weights are not on this machine
`-- NonFiniteGradientError      the perceptual gradient is NaN or infinite
"""

from __future__ import annotations

from collections.abc import Sequence


class DiffusionError(Exception):
    """Base of all errors of core.diffusion."""


class UnsupportedSchedulerError(DiffusionError):
    def __init__(self, name: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"{name} is not supported: it keeps state from one step to the next, which overlapping "
            f"windows would share; use one of: {', '.join(supported)}"
        )


class CheckpointError(DiffusionError):
    pass


class PerceptualWeightsError(DiffusionError):
    pass


class NonFiniteGradientError(DiffusionError):
    def __init__(self, windows: Sequence[int], step: int) -> None:
        named = ", ".join(str(window) for window in windows)
        super().__init__(
            f"the perceptual gradient is not finite at step {step} (from 0), window(s) {named}; "
            "try float32 or a smaller sync.weight"
        )
        self.windows = tuple(windows)
        self.step = step
