"""Plants near the camera: sprites put into the picture ring by ring, far to near."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer import classes
from panoweave.core.embedded.training.renderer import terrain as maps
from panoweave.core.embedded.training.renderer.cover import path_of
from panoweave.core.embedded.training.renderer.frame import Frame
from panoweave.core.embedded.training.renderer.haze import Haze
from panoweave.core.embedded.training.renderer.maths import TAU, lerp, smooth
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sky import Light
from panoweave.core.embedded.training.renderer.sprite_light import SpriteLighter
from panoweave.core.embedded.training.renderer.sprites import (
    BLOOM,
    LEVELS,
    SPRITE_H,
    SPRITE_W,
    SPRITES,
    STONE,
    VARIANTS,
    atlas,
)
from panoweave.core.embedded.training.renderer.stands import TYPICAL_HEIGHT, Cells, Stand
from panoweave.core.embedded.training.renderer.terrain import Terrain

_CODES = {"tree": classes.TREES, "bush": classes.BUSHES, "tuft": classes.GROUND}


@dataclass(frozen=True)
class Ring:
    """One plant per column, (B, W, 1) each, that stands at `here`."""

    cells: Cells
    ground: Tensor  # metres
    shadow: Tensor
    here: Tensor
    foot: Tensor  # tangent of the elevation of its foot


@dataclass(frozen=True)
class Strips:
    """The N columns of the picture that cross a plant, with K rows each; (N, 1) or (N, K)."""

    scene: Tensor  # (N,)
    column: Tensor  # (N,)
    row: Tensor  # (N, K), from the top
    across: Tensor  # place in the sprite, -1 to 1
    cells: Cells
    ground: Tensor
    shadow: Tensor
    foot: Tensor


class Planter:
    """Draws the stands of a batch into `image` (B, 3, W, H) and `kind` (B, W, H), in place."""

    def __init__(
        self,
        batch: Batch,
        terrain: Terrain,
        frame: Frame,
        camera: Tensor,
        light: Light,
        haze: Haze,
    ):
        self.batch, self.p, self.terrain, self.frame = batch, batch.numbers, terrain, frame
        self.camera, self.light, self.haze = camera, light, haze
        self.atlas = atlas(batch.device)
        self.lighter = SpriteLighter(batch, light)

    def draw(self, image: Tensor, kind: Tensor, wet: Tensor, depth: Tensor) -> None:
        """`depth` is the distance of what each pixel sees, `wet` where it sees water."""
        rings = sorted(
            (
                (radius, i, ring)
                for i, stand in enumerate(self.terrain.stands)
                for ring, radius in enumerate(stand.radii)
            ),
            reverse=True,
        )
        for radius, i, ring in rings:
            stand = self.terrain.stands[i]
            for side in (1, 0):
                plants = self._ring(stand, ring, side)
                if not bool(plants.here.any()):
                    continue
                if stand.name == "tree" and self.batch.has("water"):
                    self._put(stand, radius, self._mirrored(plants), image, kind, wet, True)
                self._put(stand, radius, plants, image, kind, depth, False)

    def _ring(self, stand: Stand, ring: int, side: int) -> Ring:
        p = self.p
        cells = stand.cells(p, ring, self.frame.theta, side)
        m = self.terrain.at(cells.azimuth, cells.distance)
        off = self._off_path(cells)
        if stand.name == "tuft":
            cells, density = self._undergrowth(cells, m, off)
        else:
            cover = m[:, maps.NEAR_FOREST if stand.name == "tree" else maps.SCRUB]
            density = p[stand.name + "_dense"] * cover * (off > 1.3)
        ground = m[:, maps.HEIGHT]
        here = (cells.chance < density) & (ground > 0.6 - 1e5 * (p["water"] <= 0))
        foot = (ground - 0.02 * cells.tall - self.camera) / cells.distance
        return Ring(cells, ground, m[:, maps.SHADOW], here, foot)

    def _off_path(self, cells: Cells) -> Tensor:
        """Distance from the path in half widths; 9 where there is none."""
        p, far = self.p, torch.full_like(cells.distance, 9.0)
        if not self.batch.has("path"):
            return far
        x, y = cells.distance * cells.azimuth.cos(), cells.distance * cells.azimuth.sin()
        across, _ = path_of(p, x, y)
        return torch.where(p["path"] > 0, across.abs() / p["path_w"], far)

    def _undergrowth(self, cells: Cells, m: Tensor, off: Tensor) -> tuple[Cells, Tensor]:
        """Grass, flowers or stones, and how dense they stand."""
        p, tone = self.p, cells.tone
        scrub = m[:, maps.SCRUB]
        brook = (p["path"] == 3) & (off < 2.2)
        bare = p["stone"] * (0.3 + 1.4 * smooth(0.7, 0.2, scrub))
        stony = tone < torch.where(brook, 0.5, bare)
        drift = p["flowers"] * smooth(-0.3, 0.7, m[:, maps.DRIFTS])
        bloom = (tone > 1 - 0.75 * drift) & (p["flowers"] > 0)
        variant = torch.remainder(cells.sprite, VARIANTS)
        sprite = torch.where(bloom, BLOOM * VARIANTS + variant, cells.sprite)
        sprite = torch.where(stony, STONE * VARIANTS + variant, sprite)
        size = torch.where(stony, 0.55 + 2.2 * cells.chance**4, torch.where(bloom, 0.72, 1.0))
        other = stony | bloom
        density = torch.where(other, 0.75, p["tuft_dense"] * (0.50 + 0.50 * scrub))
        density = density * torch.where(stony & brook, off > 0.6, off > 1.15)
        tone = torch.where(other, (tone * 17.3) % 1.0, tone)
        return replace(cells, sprite=sprite, tall=cells.tall * size, tone=tone), density

    def _mirrored(self, plants: Ring) -> Ring:
        """The plants as the water shows them, upside down."""
        cells = plants.cells
        foot = (0.02 * cells.tall - plants.ground - self.camera) / cells.distance
        return replace(plants, foot=foot, here=plants.here & (self.p["water"] > 0))

    def _strips(self, plants: Ring, mirror: bool) -> Strips | None:
        cells, frame = plants.cells, self.frame
        turned = torch.remainder(frame.theta - cells.azimuth + math.pi, TAU) - math.pi
        across = turned * cells.distance / cells.tall / (SPRITE_W / SPRITE_H * 1.04 / 2)
        height = 1.04 * cells.tall / cells.distance
        high = plants.foot if mirror else plants.foot + height
        first = frame.row_of(high).floor().clamp(min=0)
        last = frame.row_of(high - height).ceil().clamp(max=frame.rows - 1)
        inside = plants.here & (across.abs() < 1) & (last >= first)
        scene, column, _ = inside.nonzero(as_tuple=True)
        if len(scene) == 0:
            return None

        def pick(x: Tensor) -> Tensor:
            return x[scene, column]

        count = min(int(pick(last - first).max()) + 1, frame.rows)
        start = pick(first).long().clamp(max=frame.rows - count)
        return Strips(
            scene=scene,
            column=column,
            row=start + torch.arange(count, device=start.device),
            across=pick(across * torch.where(cells.tone > 0.5, 1.0, -1.0)),
            cells=Cells(
                pick(cells.azimuth),
                pick(cells.distance),
                pick(cells.tall),
                pick(cells.chance),
                pick(cells.sprite),
                pick(cells.tone),
            ),
            ground=pick(plants.ground),
            shadow=pick(plants.shadow),
            foot=pick(plants.foot),
        )

    def _put(
        self,
        stand: Stand,
        radius: float,
        plants: Ring,
        image: Tensor,
        kind: Tensor,
        behind: Tensor,
        mirror: bool,
    ) -> None:
        """Puts a ring into the picture: only the columns that cross a plant, and its rows there."""
        strips = self._strips(plants, mirror)
        if strips is None:
            return
        cells, scene, column = strips.cells, strips.scene, strips.column
        tan = self.frame.tan[:, 0][scene[:, None], strips.row]  # (N, K)
        up = strips.foot - tan if mirror else tan - strips.foot
        v = up * cells.distance / (1.04 * cells.tall)
        gx = strips.across.expand_as(v)
        theta = self.frame.theta[0][column]  # (N, 1)
        wave = self.p["wave"][scene, 0]
        if mirror:
            gx = gx + wave * 0.5 * torch.sin(tan * 620 + theta * 90) * v
        there = behind[scene[:, None], column[:, None], strips.row]
        ok = (v > 0.0) & (v < 1.0) & (gx.abs() < 1)
        ok = ok & (there if mirror else cells.distance < there)
        gy = ((cells.sprite + 1 - v.clamp(0.004, 0.996)) / SPRITES) * 2 - 1
        picture = self.atlas[self._level(stand, radius)]
        grid = torch.stack([gx, gy], -1)[None]
        sprite = F.grid_sample(picture, grid, align_corners=False)[0]  # (8, N, K)
        alpha = sprite[0] * ok
        from_sun = theta - self.p["sun_az"][scene, 0]
        colour = self.lighter.light(stand, scene, cells, strips.shadow, sprite, from_sun)
        passes = self.haze.to(scene, cells.distance, strips.ground + 0.5 * cells.tall)
        colour = colour * passes + self.haze.colour[scene, :, column].permute(1, 0, 2) * (
            1 - passes
        )
        if mirror:
            alpha = alpha * 0.62 * (1 - 0.6 * wave).clamp(min=0.1)
            colour = colour * 0.85
        place = (scene[:, None], slice(None), column[:, None], strips.row)
        under = image[place].permute(2, 0, 1)
        image[place] = lerp(under, colour, alpha).permute(1, 2, 0)
        if not mirror:
            place2 = (scene[:, None], column[:, None], strips.row)
            kind[place2] = torch.where(alpha > 0.5, _code(stand, cells), kind[place2])

    def _level(self, stand: Stand, radius: float) -> int:
        """Which size of the sprites suits plants at a distance."""
        pixels = self.frame.focal * self.frame.supersample * TYPICAL_HEIGHT[stand.name] / radius
        return min(max(int(math.log2(max(SPRITE_H / pixels, 1.0)) + 0.3), 0), LEVELS - 1)


def _code(stand: Stand, cells: Cells) -> Tensor:
    """The class of each plant's pixels."""
    code = torch.full_like(cells.sprite, float(_CODES[stand.name]))
    if stand.name == "tree":
        return code
    family = (cells.sprite / VARIANTS).floor()
    code = torch.where(family == BLOOM, float(classes.FLOWERS), code)
    return torch.where(family == STONE, float(classes.STONES), code)
