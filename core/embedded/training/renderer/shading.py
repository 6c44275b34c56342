"""Colour of the land at every pixel: its cover, distant trees, and the light on both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import classes
from panoweave.core.embedded.training.renderer import terrain as maps
from panoweave.core.embedded.training.renderer.cover import canopy
from panoweave.core.embedded.training.renderer.frame import Frame, Surface
from panoweave.core.embedded.training.renderer.ground import Ground
from panoweave.core.embedded.training.renderer.maths import channel, lerp, smooth
from panoweave.core.embedded.training.renderer.noise import ROUGH, SOFT, WHITE
from panoweave.core.embedded.training.renderer.shadows import plant_shadow
from panoweave.core.embedded.training.renderer.site import Site
from panoweave.core.embedded.training.renderer.sky import Light


@dataclass(frozen=True)
class Shaded:
    """The land at every pixel, before haze."""

    colour: Tensor  # (B, 3, W, H)
    pool: Tensor  # share of still shallow water (brooks, paddies), (B, W, H)
    kind: Tensor  # class of each pixel, (B, W, H): see `classes`


@dataclass(frozen=True)
class Trees:
    """Distant trees at every pixel, (B, W, H) each."""

    share: Tensor
    x: Tensor  # from the stem, in crown radii
    y: Tensor
    up: Tensor  # height as a share of the tallest
    detail: Tensor  # 1 where single trees show
    leaves: Tensor  # small variation
    tone: Tensor  # random per tree


def shade(site: Site, frame: Frame, surface: Surface, light: Light) -> Shaded:
    """Shades the land; water is painted over it later."""
    ground = Ground(site)
    trees = _trees(site)
    albedo = lerp(ground.albedo, _leaves(site, trees), channel(trees.share))
    normal = _normal(site, ground, trees)
    colour = albedo * _light(site, frame, surface, light, ground, trees, normal)
    kind = torch.full_like(site.r, float(classes.GROUND))
    for code, share in (
        (classes.ROCK, ground.rocky),
        (classes.SAND, ground.sandy),
        (classes.PATH, ground.trail),
        (classes.FLOWERS, ground.bloom * 3),
        (classes.SNOW, ground.snow),
        (classes.POOL, ground.pool),
        (classes.TREES, trees.share),
    ):
        kind = torch.where(share > 0.45, float(code), kind)
    return Shaded(colour, ground.pool, kind)


def _trees(site: Site) -> Trees:
    p, r = site.p, site.r
    forest = smooth(0.35, 0.5, site.at[:, maps.FAR_FOREST])
    zero = torch.zeros_like(r)
    ox, oy, tone = zero, zero.clone(), zero.clone()
    wood = (forest > 0).nonzero(as_tuple=True)
    if len(wood[0]):
        own = {name: p[name].view(-1)[wood[0]] for name in ("tree_gap", "crown", "conifer")}
        _, ox[wood], oy[wood], tone[wood] = canopy(own, site.x[wood], site.y[wood])
    up = (site.z - site.at[:, maps.HEIGHT]) / p["tree_tall"]
    share = forest * smooth(0.10, 0.25, up) + forest * smooth(1200, 2600, r)
    share = share.clamp(0, 1) * (p["forest"] > 0)
    leaves = site.near[:, ROUGH] * site.k_near * 0.25 + 0.2 * site.mid[:, ROUGH] * site.k_mid
    return Trees(share, ox, oy, up.clamp(0, 1.2), smooth(2400, 1000, r), leaves, tone)


def _leaves(site: Site, trees: Trees) -> Tensor:
    p, palette = site.p, site.palette
    tone = (trees.tone + 0.28 * site.far[:, SOFT] + 0.15 * site.mid[:, SOFT]).clamp(0, 1)
    leaf = lerp(palette["leaf_a"], palette["leaf_b"], channel(smooth(0.15, 0.6, tone)))
    leaf = lerp(leaf, palette["leaf_c"], channel(smooth(0.62, 0.95, tone)))
    shade_ = lerp(torch.full_like(trees.up, 0.8), 0.42 + 0.75 * trees.up, trees.detail)
    leaf = leaf * channel(shade_ * (1 + trees.leaves))
    white = 0.35 * site.near[:, ROUGH] * site.k_near + 0.3 * site.mid[:, WHITE] + trees.up * 0.6
    return lerp(leaf, palette["snow"], channel(p["tree_snow"] * smooth(0.1, 0.8, white)))


def _normal(site: Site, ground: Ground, trees: Trees) -> tuple[Tensor, Tensor, Tensor]:
    k = site.p["tree_tall"] / site.p["tree_gap"] * 0.55 * 1.6 * trees.detail
    bx = lerp(ground.bump_x, site.slope_x + trees.x * k + 0.5 * trees.leaves, trees.share)
    by = lerp(ground.bump_y, site.slope_y + trees.y * k - 0.5 * trees.leaves, trees.share)
    inv = (1 + bx * bx + by * by).rsqrt()
    nx = torch.where(trees.share > 0.5, trees.x * trees.detail * 0.8, -bx * inv)
    ny = torch.where(trees.share > 0.5, trees.y * trees.detail * 0.8, -by * inv)
    norm = (nx * nx + ny * ny + inv * inv).rsqrt()
    return nx * norm, ny * norm, inv * norm


def _light(
    site: Site,
    frame: Frame,
    surface: Surface,
    light: Light,
    ground: Ground,
    trees: Trees,
    normal: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Sun, sky, bounced light, and light through leaves and grass towards the sun."""
    p, palette = site.p, site.palette
    nx, ny, nz = normal
    el, low_sun = p["sun_el"].clamp(min=0.15), p["sun_el"]
    cos_az, sin_az = p["sun_az"].cos(), p["sun_az"].sin()
    lx, ly, lz = cos_az * el.cos(), sin_az * el.cos(), el.sin()
    soft = p["soft"] + 0.3 * trees.share
    ndl = ((nx * lx + ny * ly + nz * lz + 0.25 * soft) / (1 + 0.25 * soft)).clamp(min=0)
    cast = plant_shadow(surface, site.x, site.y, site.z, site.r, (lx, ly, lz))
    shadow = site.at[:, maps.SHADOW] * cast
    under = lerp(torch.ones_like(trees.up), 0.5 + 0.5 * trees.up, trees.share * trees.detail)
    open_ = site.at[:, maps.OCCLUSION] * under
    toward_sun = nx * cos_az + ny * sin_az
    turned = 0.22 * (1 - nz) + 0.42 * toward_sun * smooth(0.5, -0.05, low_sun)
    side = channel(turned.clamp(0, 0.6)) * (1 - light.overcast)
    facing = 0.55 + 0.45 * nz + 0.5 * toward_sun * smooth(0.25, -0.05, low_sun)
    ambient = lerp(light.ambient, light.glow, side) * channel(facing.clamp(min=0.2) * open_)
    ambient = ambient + 0.10 * light.sun * channel(open_ * (0.9 - 0.4 * nz)) * palette["grass_b"]
    day = 1 - channel(p["night"])
    fill = 1 + 1.0 * channel(smooth(0.28, 0.04, low_sun)) * (1 - light.overcast) * day
    direct = light.sun * channel(ndl * shadow) / math.pi * 1.15
    total = direct + ambient * (1 + 0.9 * light.overcast) * fill
    back = (frame.cos * cos_az + frame.sin * sin_az).clamp(min=0) ** 3
    back = back * shadow * (0.10 + 0.10 * trees.share) * (1 - ground.snow) * (1 - ground.rocky)
    return total + light.sun * channel(back * (1 - ground.sandy))
