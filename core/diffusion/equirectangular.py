"""Resample the picture of a loop, which is a cylinder, to an equirectangular one."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoweave.core.params import ResolvedParams
from panoweave.core.sphere import Sphere

_CUBIC: Final = -0.5  # Keys' cubic convolution, which reproduces polynomials of second order
_CUBIC_REACH: Final = 2  # rows

_Pixels = NDArray[Any]
_Row = NDArray[np.float64]


def to_equirectangular(image: Image.Image, params: ResolvedParams, window_px: int) -> Image.Image:
    """The picture of a loop as its `projection`, `window_fov` and `poles` ask for.

    `image`: the whole loop, in the panorama's size or a multiple of it; `window_px`: the side of a
    window in the panorama's size.
    """
    assert params.window_fov is not None  # `resolve_projection` gives every sphere one
    scale = image.width / params.width
    sphere = Sphere.around(image.width, image.height, window_px * scale, params.window_fov)
    loop = np.asarray(image.convert("RGB"))
    is_filled = params.poles == "filled"
    first = 0 if is_filled else sphere.top
    rows = sphere.height if is_filled else sphere.shown_height
    picture = np.empty((rows, sphere.width, 3), np.uint8)
    for row in range(sphere.top, sphere.top + sphere.shown_height):
        picture[row - first] = _levels(_resampled_row(loop, sphere, row))
    if is_filled and sphere.top:
        _fill_pole(picture, sphere)
        _fill_pole(picture[::-1], sphere)
    return Image.fromarray(picture)


def _resampled_row(loop: _Pixels, sphere: Sphere, row: int) -> _Row:
    """One row of the sphere, (W, 3). Columns stay where they are.

    Towards the poles a row of the sphere covers several rows of the loop; the filter is as wide.
    """
    middle = sphere.loop_row(row)
    covered = sphere.focal_length * math.pi / sphere.height / math.cos(sphere.latitude(row)) ** 2
    width = max(1.0, covered)
    first = max(0, math.floor(middle - _CUBIC_REACH * width))
    last = min(len(loop), math.ceil(middle + _CUBIC_REACH * width))
    places: _Row = np.arange(first, last, dtype=np.float64) + 0.5
    weights = _cubic((places - middle) / width)
    weights /= weights.sum()
    row_of_sphere: _Row = np.tensordot(weights, loop[first:last], 1)
    return row_of_sphere


def _cubic(distance: _Row) -> _Row:
    x, a = np.abs(distance), _CUBIC
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < _CUBIC_REACH, far, 0.0))


def _fill_pole(picture: _Pixels, sphere: Sphere) -> None:
    """Fill the rows above the loop with its edge's colours, in place.

    They run into one another, and are one colour at the pole: the solution of Laplace's equation
    on the cap, so nothing is seen in it but the edge's own colours.
    """
    waves = np.fft.rfft(picture[sphere.top].astype(float), axis=0)  # (W / 2 + 1, 3)
    orders = np.arange(len(waves))[:, None]

    def tangent(row: int) -> float:
        return math.tan((math.pi / 2 - sphere.latitude(row)) / 2)

    for row in range(sphere.top):
        fading = (tangent(row) / tangent(sphere.top)) ** orders
        picture[row] = _levels(np.fft.irfft(waves * fading, sphere.width, axis=0))


def _levels(row: _Row) -> _Pixels:
    return row.round().clip(0, 255).astype(np.uint8)
