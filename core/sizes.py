"""The sizes that windows can cover: defaults, limits, and the nearest legal size in a refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams

MAX_SIDE_PX = 32_768
MAX_PIXELS = 2**26
MAX_WINDOWS = 4_096

DEFAULT_WINDOWS_WIDE = 6
DEFAULT_WINDOWS_HIGH = 1
DEFAULT_STRIDES_PER_WINDOW = 4  # the paper's stride: 16 latents of a 64-latent window


@dataclass(frozen=True)
class PanoramaSize:
    """A size that windows cover exactly. Lengths are in pixels."""

    width: int
    height: int
    stride: int
    columns: int  # of overlapping windows
    rows: int


def resolve_size(
    width: int | None, height: int | None, stride: int | None, loop: bool, traits: CheckpointTraits
) -> PanoramaSize:
    """The size that was asked for, or the default. Raises InvalidParams."""
    stride = _resolve_stride(stride, traits)
    height = _resolve_side("height", height, DEFAULT_WINDOWS_HIGH, stride, traits)
    rows = (height - traits.window_px) // stride + 1
    if loop:
        width = _resolve_circumference(width, stride, traits)
        columns = width // stride
    else:
        width = _resolve_side("width", width, DEFAULT_WINDOWS_WIDE, stride, traits)
        columns = (width - traits.window_px) // stride + 1
    _check_limits(width, height, columns, rows)
    return PanoramaSize(width, height, stride, columns, rows)


def _resolve_stride(stride: int | None, traits: CheckpointTraits) -> int:
    if stride is None:
        quarter = traits.window_latents // DEFAULT_STRIDES_PER_WINDOW
        return max(1, quarter) * traits.px_per_latent
    if stride % traits.px_per_latent or not 0 < stride <= traits.window_px:
        raise InvalidParams(
            "stride",
            f"{stride} px does not fit windows of {traits.window_px} px",
            f"multiples of {traits.px_per_latent} from {traits.px_per_latent} "
            f"to {traits.window_px}",
        )
    return stride


def _resolve_side(
    field: str, side_px: int | None, windows: int, stride: int, traits: CheckpointTraits
) -> int:
    window = traits.window_px
    if side_px is None:
        # A stride that does not divide the window may not reach exactly six windows.
        return window + (windows - 1) * window // stride * stride
    if side_px >= window and (side_px - window) % stride == 0:
        return side_px
    if side_px < window:
        nearest = f"{window}"
    else:
        below = window + (side_px - window) // stride * stride
        nearest = f"{below}" if below + stride > MAX_SIDE_PX else f"{below} or {below + stride}"
    raise InvalidParams(
        field,
        f"windows of {window} px every {stride} px cannot cover {side_px} px exactly",
        f"{window} plus a multiple of {stride}, nearest: {nearest}",
    )


def _resolve_circumference(width: int | None, stride: int, traits: CheckpointTraits) -> int:
    window = traits.window_px
    if width is None:
        return DEFAULT_WINDOWS_WIDE * window // stride * stride
    if width >= window and width % stride == 0:
        return width
    least = math.ceil(window / stride) * stride
    below = max(least, width // stride * stride)
    nearest = (
        f"{below}"
        if width < least or below + stride > MAX_SIDE_PX
        else f"{below} or {below + stride}"
    )
    raise InvalidParams(
        "width",
        f"a loop of {width} px must hold a window and a whole number of strides of {stride} px",
        f"multiples of {stride} from {least}, nearest: {nearest}",
    )


def _check_limits(width: int, height: int, columns: int, rows: int) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidParams(
            "width",
            f"{width} x {height} is {width * height:,} pixels",
            f"width x height up to {MAX_PIXELS:,} pixels",
        )
    if columns * rows > MAX_WINDOWS:
        raise InvalidParams(
            "stride",
            f"this size and stride need {columns * rows:,} windows",
            f"up to {MAX_WINDOWS:,} windows: a larger stride or a smaller picture",
        )
