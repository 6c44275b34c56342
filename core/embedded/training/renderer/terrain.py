"""The land of a scene as maps, and as the fine surface that rays are cast at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.cover import canopy
from panoweave.core.embedded.training.renderer.frame import Frame, Surface, fine_radii
from panoweave.core.embedded.training.renderer.grid import Grid, upsample
from panoweave.core.embedded.training.renderer.land import height_map
from panoweave.core.embedded.training.renderer.maths import TAU, lerp, smooth
from panoweave.core.embedded.training.renderer.noise import ROUGH, Noise
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.shadows import land_shadow, occlusion
from panoweave.core.embedded.training.renderer.stands import Stand, stands_of

RADII = 384
# Between these distances the crowns of the far forest show one by one; metres.
_CROWNS_FROM, _CROWNS_TO = 120.0, 2600.0
# Channels of `Terrain.maps`.
SLOPE_X, SLOPE_Y, OCCLUSION, SHADOW, FAR_FOREST, HEIGHT, NEAR_FOREST, SCRUB, DRIFTS = range(9)


@dataclass(frozen=True)
class Terrain:
    """Maps of a batch on a log-polar grid, and the stands of plants on it."""

    grid: Grid
    maps: Tensor  # (B, 9, W, R)
    stands: Sequence[Stand]

    @property
    def height(self) -> Tensor:
        """Metres, (B, W, R)."""
        return self.maps[:, HEIGHT]

    def at(self, azimuth: Tensor, distance: Tensor) -> Tensor:
        """All maps at points: (B, 9, W, H)."""
        return self.grid.sample(self.maps, azimuth, distance)


def build_terrain(batch: Batch, nz: Noise, columns: int) -> Terrain:
    """Heights, light and cover of the land."""
    grid = Grid(columns, RADII, batch.device)
    height = height_map(batch, nz, grid)
    gx, gy = grid.gradient(height)
    slope = (gx * gx + gy * gy).sqrt()
    shadow = land_shadow(batch.numbers, grid, height)
    cover = _cover(batch, nz, grid, height, slope)
    maps = torch.stack([gx, gy, occlusion(grid, height), shadow, cover[0], height, *cover[1:]], 1)
    return Terrain(grid, maps, stands_of(batch))


def _cover(
    batch: Batch, nz: Noise, grid: Grid, height: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where far forest, near forest, scrub and drifts of flowers grow."""
    p, x, y, r = batch.numbers, grid.x, grid.y, grid.rr
    dry = 1e4 * (p["water"] <= 0)
    fm = nz.fbm(x / p["forest_size"], y / p["forest_size"], 4, 300)
    steep = smooth(0.45, 0.9, slope)
    forest = smooth(-0.12, 0.12, fm + p["forest"] * 2 - 1 - 0.25 * steep * 2)
    forest = forest * smooth(p["treeline"] + 120, p["treeline"] - 60, height + 60 * fm)
    near = p["tree_near"]
    forest = forest * smooth(near * 0.8, near * 1.2, r * (1 + 0.3 * fm))
    forest = forest * (p["forest"] > 0) * smooth(0.8, 2.5, height + dry) * smooth(1.1, 0.7, slope)
    clumps = 0.05 + 0.95 * smooth(-0.40, 0.35, nz.fbm(x / 38, y / 38, 3, 330, gain=0.7))
    near_forest = forest * (r < 700) * clumps
    far_forest = forest * smooth(p["tree_far"] * 0.8, p["tree_far"], r * (1 + 0.15 * fm))
    scrub = smooth(-0.5, 0.6, nz.fbm(x / 60, y / 60, 3, 320) + 0.6 * (fm - 0.1))
    scrub = scrub * smooth(0.9, 0.5, slope)
    drifts = nz.fbm(x / 28, y / 28, 3, 340) + p["flowers"]
    return far_forest, near_forest, scrub, drifts


def fine_surface(batch: Batch, nz: Noise, frame: Frame, terrain: Terrain) -> Surface:
    """The terrain at the picture's columns with small relief, distant trees and near plants."""
    p = batch.numbers
    count = 640 if frame.supersample == 1 else 896
    radii, log_step = fine_radii(count, terrain.grid.log_step, batch.device)
    ground = upsample(terrain.height, frame.columns, count, "bicubic")
    x, y = radii * frame.cos, radii * frame.sin
    top = ground
    if batch.has("forest"):
        forest = upsample(terrain.maps[:, FAR_FOREST], frame.columns, count, "bilinear")
        top = top + _tree_heights(p, x, y, radii, forest)
    with_plants = top
    fine = 0.30 * nz.one(x, y, 38.0, 0.4, ROUGH) * smooth(700, 80, radii)
    fine = fine + 0.9 * nz.one(x, y, 310.0, 1.3, ROUGH) * smooth(5000, 600, radii)
    wet = p["water"] > 0
    top = top + p["bump"] * fine * smooth(0.2, 1.5, ground + 1e5 * ~wet)
    for stand in terrain.stands:
        if stand.name != "tuft":
            plants = _plant_heights(p, stand, terrain, radii, frame.theta)
            with_plants = torch.maximum(with_plants, ground + plants)
    top = torch.where(wet, top.clamp(min=0), top)
    camera = _camera_height(p, terrain)
    return Surface(ground, top, with_plants, (top - camera) / radii, radii, log_step, camera)


def _tree_heights(
    p: dict[str, Tensor], x: Tensor, y: Tensor, radii: Tensor, forest: Tensor
) -> Tensor:
    """Distant trees: single crowns as far as they show, then a level cover; (B, W, R) metres."""
    r = radii.view(-1)
    near, far = (int(torch.searchsorted(r, limit)) for limit in (_CROWNS_FROM, _CROWNS_TO))
    share = torch.full_like(forest, 0.55)
    cut = slice(near, far)
    crown, _, _, _ = canopy(p, x[..., cut], y[..., cut])
    share[..., cut] = lerp(0.55, crown, smooth(_CROWNS_TO, 1200, r[cut]))
    return p["tree_tall"] * share * (forest > 0.35) * smooth(0.3, 0.7, forest)


def _camera_height(p: dict[str, Tensor], terrain: Terrain) -> Tensor:
    """`eye` metres above the highest ground 12 m away (or above the water), (B, 1, 1)."""
    theta = torch.linspace(0, TAU, 65, device=terrain.maps.device)[None, :, None]
    around = torch.full((len(terrain.maps), 65, 1), 12.0, device=terrain.maps.device)
    feet = terrain.grid.sample(terrain.height[:, None], theta, around)[:, 0]
    feet = torch.where(p["water"] > 0, feet.clamp(min=0), feet)
    return feet.amax((1, 2), keepdim=True) + p["eye"]


def _plant_heights(
    p: dict[str, Tensor], stand: Stand, terrain: Terrain, radii: Tensor, theta: Tensor
) -> Tensor:
    """The stand's plants as bumps on the fine surface, for shadows only: (B, W, R) metres."""
    r = radii.view(-1)
    shape = (len(terrain.maps), theta.shape[1], len(r))
    out = torch.zeros(shape, device=r.device)
    for ring, radius in enumerate(stand.radii):
        low = int(torch.searchsorted(r, radius / stand.growth**1.2))
        high = int(torch.searchsorted(r, radius * stand.growth**1.2)) + 1
        rr = r[low:high].view(1, 1, -1)
        for side in (0, 1):
            cells = stand.cells(p, ring, theta, side)
            m = terrain.at(cells.azimuth, cells.distance)
            cover = m[:, NEAR_FOREST if stand.name == "tree" else SCRUB]
            here = (cells.chance < p[stand.name + "_dense"] * cover).float()
            turned = torch.remainder(theta - cells.azimuth + TAU / 2, TAU) - TAU / 2
            d2 = (turned * rr) ** 2 + (rr - cells.distance) ** 2
            d2 = d2 / (0.22 * cells.tall) ** 2
            dome, cone = (1 - d2).clamp(min=0).sqrt(), (1 - d2.sqrt()).clamp(min=0)
            bump = lerp(dome, cone, p["conifer"]) * cells.tall * here
            out[..., low:high] = torch.maximum(out[..., low:high], bump)
    return out
