"""Sizes that windows can cover: what is legal, what is nearest to it, what is the default."""

from __future__ import annotations

import math

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams

MAX_SIDE_PX = 32_768
MAX_PIXELS = 2**26
MAX_WINDOWS = 4_096

DEFAULT_WINDOWS_WIDE = 6
DEFAULT_WINDOWS_HIGH = 1
DEFAULT_STRIDES_PER_WINDOW = 4  # the paper's stride: 16 latents of a 64-latent window


def resolve_stride(stride: int | None, traits: CheckpointTraits) -> int:
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


def resolve_side(
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


def resolve_circumference(width: int | None, stride: int, traits: CheckpointTraits) -> int:
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
        else (f"{below} or {below + stride}")
    )
    raise InvalidParams(
        "width",
        f"a ring of {width} px holds no whole number of strides of {stride} px, or no window",
        f"multiples of {stride} from {least}, nearest: {nearest}",
    )


def check_amount(width: int, height: int, columns: int, rows: int) -> None:
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
