"""Lakes and the sea: ripples, what they mirror, the sun's glitter, foam, the water's own colour."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.frame import Frame, Hits, Surface
from panoweave.core.embedded.training.renderer.grid import R_FAR, R_NEAR
from panoweave.core.embedded.training.renderer.maths import TAU, channel, lerp, rgb, smooth
from panoweave.core.embedded.training.renderer.noise import PUFF, ROUGH, SOFT, WHITE, Noise
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sky import Light

_STEPS = 36


@dataclass(frozen=True)
class Ripples:
    """Slopes of the water at each pixel, and the textures they are made of."""

    x: Tensor
    y: Tensor
    small: Tensor  # period 60 m, (B, 4, W, H)
    large: Tensor  # period 270 m
    near: Tensor  # 1 where small ripples show
    middle: Tensor  # 1 where large ripples show


def _ripples(p: dict[str, Tensor], nz: Noise, hits: Hits) -> Ripples:
    cw, sw = p["wind"].cos(), p["wind"].sin()
    u, v = cw * hits.x + sw * hits.y, (-sw * hits.x + cw * hits.y) * 0.42
    t0, t1 = nz.tex(u, v, 15.0, 0.3), nz.tex(u, v, 60.0)
    t2, t3 = nz.tex(u, v, 270.0, 0.12), nz.tex(u, v, 1300.0, -0.1)
    k0, k1 = smooth(150, 30, hits.r), smooth(500, 50, hits.r)
    k2 = smooth(3500, 300, hits.r)

    def slope(a: int, b: int) -> Tensor:
        waves = 0.45 * t0[:, a] * k0 + 0.6 * t1[:, a] * k1 + 0.32 * t2[:, a] * k2
        return p["wave"] * (waves + 0.12 * t3[:, b])

    return Ripples(slope(ROUGH, SOFT), slope(PUFF, ROUGH), t1, t2, k1, k2)


def paint_water(
    batch: Batch,
    nz: Noise,
    light: Light,
    frame: Frame,
    surface: Surface,
    hits: Hits,
    shadow: Tensor,
    land: Tensor,
    sky: Tensor,
) -> Tensor:
    """Colour of the water at every pixel, (B, 3, W, H).

    `land` is the land through the haze at the picture's samples, `sky` the sky at its pixels.
    """
    p, palette = batch.numbers, batch.colours
    wave = _ripples(p, nz, hits)
    cos, sin, tan, a = frame.cos, frame.sin, hits.tan, p["wave"]
    # Mirrored rays: the elevation swings with the slope towards the viewer, the azimuth little.
    toward = wave.x * cos + wave.y * sin
    up = (-tan - 0.5 * toward * (0.35 + (-tan) * 2.0)).clamp(min=0.001) + a * 0.05
    side = (-wave.x * sin + wave.y * cos) * 0.10
    mirror = _mirror(frame, surface, hits, up, side, land, sky)
    graze = (-tan / (1 + tan * tan).sqrt()).clamp(min=0.0)
    facing = (graze + 0.10 * a * 2 + 0.25 * toward.abs() * a).clamp(0, 1)
    fresnel = 0.02 + 0.98 * (1 - facing) ** 5
    bed = surface.ground_at(hits.r)
    depth = 1 - (-(-bed).clamp(min=0) / p["clarity"]).exp()
    body = lerp(palette["shallow"], palette["deep"], channel(depth))
    body = lerp(
        body, body.mean(1, keepdim=True) * rgb(0.75, 1.05, 1.1, body), 0.75 * light.overcast
    )
    high = p["sun_el"].clamp(min=0.05).sin() ** 0.5
    lit = light.sun * channel(0.25 * shadow * high) / math.pi
    lit = lit + light.ambient * 0.55 * (1 + 0.9 * light.overcast)
    body = body * lit * channel(1 + 0.25 * a * wave.large[:, SOFT] * wave.middle)
    out = lerp(body, mirror, channel(fresnel))
    out = out + light.sun * channel(_glint(p, frame, hits, wave) * shadow * (fresnel + 0.05)).clamp(
        max=3.0
    )
    foam = channel(_foam(p, wave, bed))
    return lerp(out, (light.sun * channel(shadow * 0.3) + light.ambient) * 0.8, foam)


def _mirror(
    frame: Frame,
    surface: Surface,
    hits: Hits,
    up: Tensor,
    side: Tensor,
    land: Tensor,
    sky: Tensor,
) -> Tensor:
    """What the mirrored ray finds: marched over the land; else the sky."""
    count, columns, radii = surface.top.shape
    device = up.device
    turned = torch.arange(columns, device=device).view(1, -1, 1) + side / TAU * columns
    column = torch.remainder(turned.round().long(), columns)
    flat = surface.top.reshape(-1)
    base = (torch.arange(count, device=device) * columns * radii).view(-1, 1, 1)
    r = hits.r
    found = torch.full_like(r, -1.0)
    seen_at = torch.zeros_like(r)
    log_r = r.clamp(R_NEAR, R_FAR * 0.99).log()
    for i in range(_STEPS):
        share = ((i + 0.7) / _STEPS) ** 1.3
        far = (log_r + (math.log(R_FAR) - log_r) * share).exp()
        cell = surface.index_of(far).long().clamp(0, radii - 1)
        height = flat[base + column * radii + cell]
        ray = (far - r) * up
        new = (height > ray) & (height > 0.3) & (found < 0)
        found = torch.where(new, far, found)
        seen_at = torch.where(new, (ray - surface.camera) / far, seen_at)
    tan = torch.where(found > 0, seen_at, up)
    gy = (column.float() + 0.5) / columns * 2 - 1
    gx = (frame.row_of(tan) - hits.first_row) / hits.tan.shape[-1] * 2 - 1
    land_seen = _look(land, gx, gy)
    gx = frame.row_of(up) / frame.rows * 2 - 1
    sky_seen = _look(sky, gx, gy).clamp(max=12.0)
    return torch.where((found > 0).unsqueeze(1), land_seen, sky_seen)


def _look(picture: Tensor, gx: Tensor, gy: Tensor) -> Tensor:
    grid = torch.stack([gx, gy.expand_as(gx)], -1)
    return F.grid_sample(picture, grid, align_corners=False, padding_mode="border")


def _glint(p: dict[str, Tensor], frame: Frame, hits: Hits, wave: Ripples) -> Tensor:
    """How many of the slopes at a pixel throw the sun at the eye."""
    dphi = frame.theta - p["sun_az"]
    el = p["sun_el"].clamp(min=0.0)
    view = torch.atan(-hits.tan)
    hz = (el.sin() + view.sin()).clamp(min=0.02)
    sx = (el.cos() * dphi.cos() - view.cos()) / hz
    sy = el.cos() * dphi.sin() / hz
    variance = 0.004 + 0.05 * p["wave"]
    spark = 1 + 1.1 * wave.small[:, WHITE] * wave.near + 0.8 * wave.large[:, WHITE] * wave.middle
    share = (-((sx * sx + sy * sy) / (2 * variance))).exp() / variance * 0.010
    return share * spark.clamp(min=0)


def _foam(p: dict[str, Tensor], wave: Ripples, bed: Tensor) -> Tensor:
    """Foam at the shore and on crests, in [0, 0.8]."""
    a = p["wave"]
    small, large = wave.small, wave.large
    shore = smooth(-2.2, -0.2, bed + 0.9 * large[:, SOFT]) * smooth(0.1, 0.3, a)
    shore = shore * smooth(-0.5, 1.0, small[:, ROUGH] + 1.0)
    crest = 1.1 * large[:, ROUGH] + (1.0 * small[:, ROUGH] + 0.3 * small[:, WHITE]) * wave.near
    cap = smooth(2.9, 3.9, crest) * smooth(0.35, 0.9, a) * wave.middle
    return (shore + cap).clamp(0, 1) * 0.8
