"""The errors of making a panorama.

DiffusionError
|-- UnsupportedSchedulerError   the scheduler cannot step a canvas of merged windows
|-- CheckpointError             the checkpoint is missing, or its format is not supported
|-- DeviceUnavailableError      the device asked for is not in this machine
|-- PerceptualWeightsError      the weights of the perceptual network are not on this machine
|-- CredentialsError            the certificate for signing pictures cannot be used
|-- NonFiniteGradientError      the gradient of a window is NaN or infinite
|-- NonFinitePictureError       the picture has NaN where it should have colours
|-- RankFailedError             another rank could not compute its share; its log says why
`-- InvalidSamplerStateError    a saved sampler state is broken, or of another panorama

The first three are in core/model_files, which is torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from panoweave.core.model_files.errors import (
    CheckpointError,
    DiffusionError,
    UnsupportedSchedulerError,
    in_one_line,
)

__all__ = [
    "CheckpointError",
    "CredentialsError",
    "DeviceUnavailableError",
    "DiffusionError",
    "InvalidSamplerStateError",
    "NonFiniteGradientError",
    "NonFinitePictureError",
    "PerceptualWeightsError",
    "RankFailedError",
    "UnsupportedSchedulerError",
    "check_finite",
    "in_one_line",
]


class DeviceUnavailableError(DiffusionError):
    pass


class PerceptualWeightsError(DiffusionError):
    pass


class CredentialsError(DiffusionError):
    pass


class InvalidSamplerStateError(DiffusionError):
    pass


class RankFailedError(DiffusionError):
    def __init__(self) -> None:
        super().__init__("another rank could not compute its share; its log says why")


class NonFiniteGradientError(DiffusionError):
    def __init__(self, windows: Sequence[int], step: int) -> None:
        named = ", ".join(str(window) for window in windows)
        super().__init__(
            f"the gradient is not finite at step {step} (from 0), window(s) {named}; try float32 "
            "or a smaller sync.weight"
        )
        self.windows = tuple(windows)
        self.step = step


class NonFinitePictureError(DiffusionError):
    def __init__(self) -> None:
        super().__init__("the picture has values that are not finite; try float32")


def check_picture(picture: Tensor) -> None:
    """Raise NonFinitePictureError if there is NaN in a decoded picture: it would be black there.

    It may come from the denoiser, which is not checked where nothing is synchronised, or from the
    decoder: half precision overflows in some.
    """
    if not picture.sum().isfinite():  # NaN stays in a sum
        raise NonFinitePictureError


def check_finite(gradients: Sequence[tuple[Tensor, Sequence[int]]], step: int) -> None:
    """Raise NonFiniteGradientError unless the gradients of a step are finite.

    `gradients`: batches (N, C, S, S), each with its windows. They are read together, since reading
    makes the host wait for a GPU.
    """
    if not gradients:
        return
    finite = torch.cat([gradient.isfinite().flatten(1).all(1) for gradient, _ in gradients])
    windows = [window for _, batch in gradients for window in batch]
    broken = [window for window, fine in zip(windows, finite.tolist(), strict=True) if not fine]
    if broken:
        raise NonFiniteGradientError(sorted(set(broken)), step)
