"""Where a loop lies on the sphere around the viewer: `projection` "equirectangular". Torch-free.

The windows are perspective pictures that look at the horizon, so a loop is a cylinder: its columns
are the directions all around, and a row is as far from the horizon as the tangent of its angle
above it. In an equirectangular picture rows are the angles themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.sizes import MAX_PIXELS

Projection = Literal["cylinder", "equirectangular"]
Poles = Literal["filled", "cropped"]
WindowFov = Annotated[float, Field(gt=0, lt=180)]

# The three fields of a request. Left out of the JSON where they are as before there were any:
# stored requests, jobs and savepoints are compared by their JSON.
ProjectionField = Annotated[
    Projection,
    Field(
        exclude_if=lambda value: value == "cylinder",
        description="Of the picture of a `loop`. 'cylinder': as the windows show it; "
        "'equirectangular': on a sphere, as 360-degree viewers expect it, and as wide.",
    ),
]
WindowFovField = Annotated[
    WindowFov | None,
    Field(
        exclude_if=lambda value: value is None,
        description="With 'equirectangular': the horizontal field of view of one window, in "
        "degrees. A larger angle makes the loop higher on the sphere. Default: the angle at which "
        "things at the horizon keep their proportions, 2 atan(pi window / width).",
    ),
]
PolesField = Annotated[
    Poles | None,
    Field(
        exclude_if=lambda value: value is None,
        description="With 'equirectangular': what lies above and below the loop. 'filled': its "
        "edges' colours, so that the picture is a whole sphere, twice as wide as high; 'cropped': "
        "nothing, and the file's metadata say which part of the sphere it is. Default: 'filled'.",
    ),
]

_DECIMALS: Final = 2  # of the default `window_fov`, in degrees


@dataclass(frozen=True)
class Sphere:
    """An equirectangular picture of a loop. Lengths are in pixels."""

    width: int  # of the loop and of the sphere
    loop_height: int
    focal_length: float  # of the windows
    top: int  # rows of the sphere above the loop; as many are below it

    @classmethod
    def around(cls, width: int, height: int, window: float, fov: float) -> Self:
        """`window`: its side; `fov`: its horizontal field of view, in degrees."""
        half = math.tan(math.radians(fov) / 2)
        focal_length = window / 2 / half if half else math.inf  # tiny angles are rounded to 0
        above_loop = math.pi / 2 - math.atan(height / 2 / focal_length)
        # The first row whose middle is not above the loop.
        top = max(0, math.ceil(above_loop * width / (2 * math.pi) - 0.5))
        return cls(width, height, focal_length, top)

    @property
    def height(self) -> int:
        return self.width // 2

    @property
    def shown_height(self) -> int:
        """The rows that show the loop."""
        return self.height - 2 * self.top

    def latitude(self, row: int) -> float:
        """The angle above the horizon of the middle of a row, in radians."""
        return (self.height / 2 - row - 0.5) * math.pi / self.height

    def loop_row(self, row: int) -> float:
        """Where the middle of the sphere's row is on the loop, from its top edge."""
        return self.loop_height / 2 - self.focal_length * math.tan(self.latitude(row))


@dataclass(frozen=True)
class ResolvedProjection:
    """The three fields, with their values where the picture is equirectangular."""

    projection: Projection
    window_fov: float | None = None
    poles: Poles | None = None


def resolve_projection(
    asked: ResolvedProjection, loop: bool, width: int, height: int, window_px: int
) -> ResolvedProjection:
    """Fill in what is open. Raises InvalidParams."""
    if asked.projection == "cylinder":
        for field, value in (("window_fov", asked.window_fov), ("poles", asked.poles)):
            if value is not None:
                raise InvalidParams(
                    field,
                    "a cylinder has none",
                    "null, or the projection 'equirectangular'",
                )
        return asked
    if not loop:
        raise InvalidParams(
            "projection",
            "only a loop goes all around, as 'equirectangular' does",
            "'cylinder', or loop: true",
        )
    if width % 2:
        raise InvalidParams("width", f"a sphere of {width} px has no middle", "an even number")
    fov = default_window_fov(width, window_px) if asked.window_fov is None else asked.window_fov
    poles = asked.poles or "filled"
    sphere = Sphere.around(width, height, window_px, fov)
    if sphere.shown_height < 1 or math.isinf(sphere.focal_length):
        raise InvalidParams(
            "window_fov",
            f"{fov} degrees leave no row of a loop of {width} x {height} px",
            f"larger angles, such as {default_window_fov(width, window_px)}",
        )
    resolved = ResolvedProjection("equirectangular", fov, poles)
    _, rows = picture_size(resolved, width, height, window_px)
    if width * rows > MAX_PIXELS:
        raise InvalidParams(
            "poles",
            f"a sphere of {width} x {rows} is {width * rows:,} pixels",
            f"up to {MAX_PIXELS:,} pixels: 'cropped', or a smaller width",
        )
    return resolved


def picture_size(
    resolved: ResolvedProjection, width: int, height: int, window_px: int
) -> tuple[int, int]:
    """(width, height) of the picture that a panorama of this size becomes."""
    if resolved.window_fov is None:
        return width, height
    sphere = Sphere.around(width, height, window_px, resolved.window_fov)
    return width, sphere.height if resolved.poles == "filled" else sphere.shown_height


def default_window_fov(width: int, window_px: int) -> float:
    """The angle, in degrees, at which things at the horizon keep their proportions: a pixel is the
    same angle upwards as sideways."""
    return round(math.degrees(2 * math.atan(math.pi * window_px / width)), _DECIMALS)
