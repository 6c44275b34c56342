"""Everything about the points that pixels see which the materials need: textures, slopes, masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import terrain as maps
from panoweave.core.embedded.training.renderer.frame import Frame, Hits
from panoweave.core.embedded.training.renderer.maths import TAU, hash2, smooth
from panoweave.core.embedded.training.renderer.noise import PUFF, ROUGH, SOFT, WHITE, Noise
from panoweave.core.embedded.training.renderer.scene import Batch


@dataclass(frozen=True)
class Site:
    """The land at every pixel, (B, W, H) each unless said otherwise."""

    batch: Batch
    nz: Noise
    x: Tensor
    y: Tensor
    z: Tensor
    r: Tensor
    slope_x: Tensor
    slope_y: Tensor
    slope: Tensor
    at: Tensor  # the terrain's maps, (B, 9, W, H)
    near: Tensor  # textures of period 38 m, (B, 4, W, H)
    mid: Tensor  # 310 m
    far: Tensor  # 2900 m
    patch: Tensor  # 130 m, soft and rough, (B, 2, W, H)
    fine: Tensor  # 9 m, fading out by 170 m
    k_near: Tensor  # where the near textures show
    k_mid: Tensor  # where the middle ones do
    u: Tensor  # along the wind
    v: Tensor  # across the wind
    blade: Tensor  # upright streaks of grass
    spark: Tensor  # white noise at the same scale

    @property
    def p(self) -> dict[str, Tensor]:
        """The scenes' numbers."""
        return self.batch.numbers

    @property
    def palette(self) -> dict[str, Tensor]:
        """The scenes' colours."""
        return self.batch.colours


def site_of(batch: Batch, nz: Noise, frame: Frame, camera: Tensor, hits: Hits, at: Tensor) -> Site:
    """Reads the textures at what the pixels see; `at` holds the terrain's maps there."""
    p, x, y, r = batch.numbers, hits.x, hits.y, hits.r
    near, mid = nz.tex(x, y, 38.0, 0.4), nz.tex(x, y, 310.0, 1.3)
    far = nz.tex(x, y, 2900.0, 2.2)
    slope_x, slope_y = at[:, maps.SLOPE_X], at[:, maps.SLOPE_Y]
    blade, spark = _blades(nz, frame, camera, hits, near, mid)
    cw, sw = p["wind"].cos(), p["wind"].sin()
    return Site(
        batch=batch,
        nz=nz,
        x=x,
        y=y,
        z=hits.z,
        r=r,
        slope_x=slope_x,
        slope_y=slope_y,
        slope=(slope_x * slope_x + slope_y * slope_y).sqrt(),
        at=at,
        near=near,
        mid=mid,
        far=far,
        patch=nz.tex(x, y, 130.0, 0.9, slice(0, 2)),
        fine=nz.one(x, y, 9.0, 2.7, ROUGH) * smooth(170, 40, r),
        k_near=smooth(600, 60, r),
        k_mid=smooth(6000, 500, r),
        u=cw * x + sw * y,
        v=-sw * x + cw * y,
        blade=blade,
        spark=spark,
    )


def _blades(
    nz: Noise, frame: Frame, camera: Tensor, hits: Hits, near: Tensor, mid: Tensor
) -> tuple[Tensor, Tensor]:
    """Upright streaks that keep their size in the picture, octave by octave of distance."""
    octave = (hits.r / 9.0).log2().clamp(0, 7)
    low = octave.floor()
    blade = torch.zeros_like(hits.r)
    spark = torch.zeros_like(hits.r)
    sway = 0.012 * near[:, SOFT] + 0.02 * mid[:, ROUGH]
    for o, weight in ((low, 1 - (octave - low)), (low + 1, octave - low)):
        k = torch.exp2(o)
        across = frame.theta / TAU * 4 * k + sway
        up = (camera - hits.z) / hits.r * 0.64 * k * 0.40 + 0.37 * o
        t = nz.tex(across, up, 1.0, 0.0, slice(1, 4))
        white = t[:, WHITE - 1]
        streak = 0.42 * t[:, ROUGH - 1] + 0.30 * t[:, PUFF - 1] + 0.50 * white * (o < 2.5)
        blade = blade + weight * streak
        spark = spark + weight * white
    return blade * smooth(900, 60, hits.r), spark


def hash_cells(u: Tensor, v: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Two random numbers for each cell of a lattice that differs by level."""
    a, b, _ = hash2(u + 31 * level, v + 17 * level, 5)
    return a, b
