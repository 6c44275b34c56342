"""Landscapes as 360 degree cylindrical panoramas, rendered with plain PyTorch on CPU or CUDA.

The camera never moves, so the land lies on a log-polar map around it. A picture column is a row of
that map: a running maximum of the elevation angle says what hides what, a binary search finds what
each pixel sees. All pixels are then shaded at once: materials, sun with cast shadows, occlusion,
haze; water mirrors what the same search finds along the mirrored ray. Plants near the camera are
sprites with normals. The sky is a single-scattering atmosphere, so the colours of noon, sunset and
twilight follow from the sun's elevation. Scenes of different biomes can share a batch: a biome is
nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer import terrain as maps
from panoweave.core.embedded.training.renderer.clouds import paint_clouds
from panoweave.core.embedded.training.renderer.develop import average_samples, develop
from panoweave.core.embedded.training.renderer.facts import (
    Facts,
    class_map,
    gather_facts,
    relief_maps,
)
from panoweave.core.embedded.training.renderer.frame import Frame, Hits, cast_rays
from panoweave.core.embedded.training.renderer.haze import Haze
from panoweave.core.embedded.training.renderer.noise import Noise
from panoweave.core.embedded.training.renderer.plants import Planter
from panoweave.core.embedded.training.renderer.pools import paint_pools
from panoweave.core.embedded.training.renderer.scene import Scene, as_batch
from panoweave.core.embedded.training.renderer.shading import shade
from panoweave.core.embedded.training.renderer.site import site_of
from panoweave.core.embedded.training.renderer.sky import light_of, paint_sky, sky_view
from panoweave.core.embedded.training.renderer.terrain import build_terrain, fine_surface
from panoweave.core.embedded.training.renderer.water import paint_water


def render(
    scenes: Sequence[Scene],
    device: str | torch.device = "cpu",
    width: int = 2048,
    height: int = 256,
    supersample: int = 2,
) -> Tensor:
    """Panoramas of the scenes, uint8 (B, 3, height, width)."""
    return render_with_facts(scenes, device, width, height, supersample)[0]


def render_with_facts(
    scenes: Sequence[Scene],
    device: str | torch.device = "cpu",
    width: int = 2048,
    height: int = 256,
    supersample: int = 2,
) -> tuple[Tensor, list[Facts]]:
    """Panoramas, uint8 (B, 3, height, width), and what each shows, for `window_attributes`."""
    _check(scenes, width, height, supersample)
    with torch.no_grad():
        return _render(scenes, torch.device(device), width, height, supersample)


def _check(scenes: Sequence[Scene], width: int, height: int, supersample: int) -> None:
    if not scenes:
        raise ValueError("scenes must hold at least one scene")
    if width < 64 or width % 16:
        raise ValueError(f"width must be a multiple of 16 from 64 on, not {width}")
    if height < 32 or height % 16:
        raise ValueError(f"height must be a multiple of 16 from 32 on, not {height}")
    if supersample not in (1, 2, 3, 4):
        raise ValueError(f"supersample must be 1 to 4, not {supersample}")


def _render(
    scenes: Sequence[Scene], device: torch.device, width: int, height: int, supersample: int
) -> tuple[Tensor, list[Facts]]:
    batch = as_batch(scenes, device)
    nz = Noise([scene.seed for scene in scenes], device)
    terrain = build_terrain(batch, nz, width // 2)
    frame = Frame(batch, width, height, supersample)
    surface = fine_surface(batch, nz, frame, terrain)
    hits = cast_rays(batch, frame, surface)

    light = light_of(batch)
    view = sky_view(batch, frame)
    clouds = paint_clouds(batch, nz, light, view)
    sky = paint_sky(batch, nz, light, view, clouds)
    haze = Haze(batch, frame, light, surface.camera)

    shape = (len(batch), frame.columns, hits.r.shape[-1])
    at = terrain.at(frame.theta.expand(shape), hits.r)
    shaded = shade(site_of(batch, nz, frame, surface.camera, hits, at), frame, surface, light)
    passes = haze.through(nz, hits)
    land = shaded.colour
    if bool(hits.is_water.any()):
        seen = land * passes + haze.colour * (1 - passes)
        shadow = at[:, maps.SHADOW]
        water = paint_water(batch, nz, light, frame, surface, hits, shadow, seen, sky)
        land = torch.where(hits.is_water.unsqueeze(1), water, land)
    image = _compose(frame, haze, hits, land * passes + haze.colour * (1 - passes), sky)
    kind = class_map(hits, shaded.kind, clouds[1], frame)
    pool = shaded.pool * hits.hit * (~hits.is_water)
    relief = relief_maps(batch, hits, surface.camera, passes)
    bare = torch.ones_like(kind, dtype=torch.bool)
    if terrain.stands:
        distance = torch.where(hits.hit, hits.r, torch.full_like(hits.r, 1e9))
        depth = F.pad(distance, (hits.first_row, 0), value=1e9)
        wet = F.pad(hits.is_water, (hits.first_row, 0))
        before = kind.clone()
        Planter(batch, terrain, frame, surface.camera, light, haze).draw(image, kind, wet, depth)
        bare = kind == before
        pool = pool * bare[..., hits.first_row :]
    paint_pools(batch, nz, light, frame, hits, passes, pool, image)
    facts = gather_facts(batch, frame, kind, bare, relief)
    picture = develop(batch, average_samples(image, supersample)).clamp(0, 1)
    return (picture * 255 + 0.5).to(torch.uint8).transpose(2, 3).contiguous(), facts


def _compose(frame: Frame, haze: Haze, hits: Hits, land: Tensor, sky: Tensor) -> Tensor:
    """Land below, sky above: (B, 3, W, H) at the picture's samples."""
    size = (frame.columns, frame.rows)
    sky = haze.over_sky(F.interpolate(sky, size=size, mode="bilinear", align_corners=False))
    first = hits.first_row
    below = torch.where(hits.hit.unsqueeze(1), land, sky[..., first:])
    return torch.cat([sky[..., :first], below], -1)
