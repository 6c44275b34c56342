"""The sky's colours, tabled over elevation and azimuth from the sun, and its light on the land."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.atmosphere import Atmosphere
from panoweave.core.embedded.training.renderer.frame import Frame
from panoweave.core.embedded.training.renderer.maths import TAU, hash2, lerp, rgb, smooth
from panoweave.core.embedded.training.renderer.noise import PUFF, SOFT, Noise
from panoweave.core.embedded.training.renderer.scene import Batch

_ELEVATIONS, _AZIMUTHS = 64, 48


class SkyDome:
    """Looks up the clear sky. Elevations are dense at the horizon."""

    def __init__(self, batch: Batch):
        p, device = batch.numbers, batch.device
        self.air = Atmosphere(p["mie"])
        v = torch.linspace(-0.25, 1, _ELEVATIONS, device=device)
        self.elevation = (v.sign() * v * v * (math.pi / 2)).view(1, 1, -1, 1)
        self.azimuth = torch.linspace(0, math.pi, _AZIMUTHS, device=device).view(1, 1, 1, -1)
        sun_el = p["sun_el"].unsqueeze(1)
        table = self.air.sky(sun_el, self.elevation.clamp(min=0.002), self.azimuth) * 1.45
        table = table * lerp(1.0, 0.36, p["night"].unsqueeze(1))
        grey = table.mean(1, keepdim=True)
        table = (grey + (table - grey) * (1 + 0.35 * smooth(0.25, -0.02, sun_el))).clamp(min=0)
        self.table = self._grade(batch, table)  # (B, 3, E, A)
        self.weight = (self.elevation.cos() * self.elevation.sin()).clamp(min=0)
        self.weight = self.weight * v.abs().view(1, 1, -1, 1)

    def _grade(self, batch: Batch, table: Tensor) -> Tensor:
        """Warmer bands about a low sun; no green; blue on the far side after sunset."""
        p, palette = batch.numbers, batch.colours
        el, az = self.elevation, self.azimuth
        sun_el, day = p["sun_el"].unsqueeze(1), 1 - p["night"].unsqueeze(1)
        low = smooth(0.30, 0.02, sun_el)
        warm = (-el.clamp(min=0) / 0.16).exp() * (0.35 + 0.65 * (0.5 + 0.5 * az.cos()) ** 2)
        belt = (-(((el - 0.16) / 0.14) ** 2)).exp() * (0.75 - 0.4 * (0.5 + 0.5 * az.cos()))
        for name, band in (("dusk_warm", warm), ("dusk_belt", belt)):
            table = table * lerp(torch.ones_like(palette[name]), palette[name], band * low * day)
        # A low sun leaves orange, not the green that single scattering alone would.
        red, green, blue = table.unbind(1)
        orange = torch.minimum(green, 0.60 * red + 0.42 * blue)
        share = smooth(0.35, 0.06, p["sun_el"]) * (1 - p["night"])
        table = torch.stack([red, lerp(green, orange, share), blue], 1)
        twilight = smooth(0.03, -0.06, sun_el) * day
        away = (0.5 - 0.5 * az.cos()).clamp(min=1e-4) ** 0.7 * (-el.clamp(min=0) / 0.6).exp()
        cold = rgb(0.42, 0.50, 0.86, table)
        return table * lerp(torch.ones_like(cold), cold, away * twilight)

    def look(self, el: Tensor, dphi: Tensor) -> Tensor:
        """Colour at elevation and azimuth from the sun, (B, W, H) each -> (B, 3, W, H)."""
        v = (el / (math.pi / 2)).abs().sqrt() * el.sign()
        gy = ((v + 0.25) / 1.25) * 2 - 1
        gx = (torch.remainder(dphi + math.pi, TAU) - math.pi).abs() / math.pi * 2 - 1
        grid = torch.stack([gx, gy.expand_as(gx)], -1)
        return F.grid_sample(self.table, grid, align_corners=True, padding_mode="border")

    def ambient(self) -> Tensor:
        """Mean light of the dome, (B, 3, 1, 1)."""
        total = self.weight.expand_as(self.table).sum((2, 3), keepdim=True)
        return (self.table * self.weight).sum((2, 3), keepdim=True) / total

    def glow(self, ambient: Tensor) -> Tensor:
        """What the sky about the sun adds from the side, (B, 3, 1, 1)."""
        side = (self.azimuth < 1.2).float() * (self.elevation < 0.5).float()
        side = side * (self.elevation > 0).float()
        glow = (self.table * side).sum((2, 3), keepdim=True) / side.sum((2, 3), keepdim=True)
        return glow * (ambient.mean(1, keepdim=True) * 1.6 / glow.mean(1, keepdim=True))


@dataclass(frozen=True)
class Light:
    """Light on the land, (B, 3, 1, 1) each but `overcast` (B, 1, 1, 1)."""

    dome: SkyDome
    sun: Tensor
    ambient: Tensor
    glow: Tensor
    dull: Tensor  # the sky under a closed cover of cloud
    overcast: Tensor


def light_of(batch: Batch) -> Light:
    """Sun and sky of each scene, dimmed where it is overcast."""
    p = batch.numbers
    dome = SkyDome(batch)
    over, sun_el = p["overcast"].unsqueeze(1), p["sun_el"].unsqueeze(1)
    low = smooth(0.30, 0.02, sun_el)
    sun = dome.air.sunlight(sun_el) * (0.72 + 0.9 * low)
    sun = lerp(sun, sun.mean(1, keepdim=True), 0.28 * low)
    ambient = dome.ambient()
    glow = dome.glow(ambient)
    tint = batch.colours["overcast_tint"]
    grey = ambient.mean(1, keepdim=True) * tint
    ambient, glow = lerp(ambient, grey, 0.85 * over), lerp(glow, grey, 0.85 * over)
    dull = (ambient.mean(1, keepdim=True) * 1.2 + 0.02 * sun.mean(1, keepdim=True)) * tint
    return Light(dome, sun * (1 - 0.93 * over), ambient, glow, dull, over)


@dataclass(frozen=True)
class SkyView:
    """Angles of the picture's pixels (not samples), for drawing the sky: (B, W, H) each."""

    elevation: Tensor
    theta: Tensor  # (1, W, 1)
    from_sun: Tensor  # azimuth
    cos_sun: Tensor  # cosine of the angle to the sun


def sky_view(batch: Batch, frame: Frame) -> SkyView:
    """The picture's angles at single resolution."""
    p, device = batch.numbers, batch.device
    shape = (len(batch), frame.width, frame.height)
    rows = (torch.arange(frame.height, device=device) + 0.5).view(1, 1, -1)
    el = torch.atan((frame.horizon - rows) / frame.focal).expand(shape)
    theta = (torch.arange(frame.width, device=device) + 0.5).view(1, -1, 1) / frame.width * TAU
    dphi = (theta - p["sun_az"]).expand(shape)
    cos_sun = el.sin() * p["sun_el"].sin() + el.cos() * p["sun_el"].cos() * dphi.cos()
    return SkyView(el, theta, dphi, cos_sun)


def paint_sky(
    batch: Batch, nz: Noise, light: Light, view: SkyView, clouds: tuple[Tensor, Tensor]
) -> Tensor:
    """The sky with sun or moon, stars, and clouds over it: (B, 3, W, H) at single resolution."""
    p = batch.numbers
    night, sun_el = p["night"].unsqueeze(1), p["sun_el"].unsqueeze(1)
    sky = light.dome.look(view.elevation.clamp(min=0.001), view.from_sun)
    closed = light.dull * (1.1 - 0.25 * view.elevation.unsqueeze(1))
    sky = lerp(sky, closed, light.overcast * 0.92)
    cos_zenith = sun_el.sin().clamp(min=0.0)
    colour = light.dome.air.transmit(torch.full_like(sun_el, 300.0), cos_zenith)
    angle = torch.acos(view.cos_sun.clamp(-1, 1)).unsqueeze(1)
    disc = smooth(0.0115, 0.0085, angle) * 40 + (-angle / 0.022).exp() * 3.0
    disc = disc + (-angle / 0.07).exp() * 0.6 + (-angle / 0.22).exp() * 0.12
    seen = smooth(-0.03, 0.01, sun_el) * (1 - light.overcast) * lerp(1.0, 0.35, night)
    sky = sky + disc * colour * seen
    if batch.has("night"):
        bright = night * (1 - light.overcast) * light.ambient.mean(1, keepdim=True) * 16
        sky = sky + _stars(batch, nz, view) * bright
    colour, opacity = clouds
    return lerp(sky, colour, opacity)


def _stars(batch: Batch, nz: Noise, view: SkyView) -> Tensor:
    """Stars and a milky way, (B, 3, W, H)."""
    el, th, p = view.elevation, view.theta, batch.numbers
    ix = torch.arange(el.shape[1], device=el.device).view(1, -1, 1).expand_as(el)
    iy = torch.arange(el.shape[2], device=el.device).view(1, 1, -1).expand_as(el)
    a, b, c = hash2(ix + p["seed"].int(), iy, 77)
    band = nz.tex(th.cos() * 300 + el * 500, th.sin() * 300 + el * 0, 1000.0)
    middle = 0.28 + 0.22 * (th - p["sun_az"] + 2).sin()
    milky = (-(((el - middle) / 0.13) ** 2)).exp()
    milky = milky * (0.5 + 0.35 * band[:, SOFT] - 0.2 * band[:, PUFF]).clamp(min=0)
    star = ((a > 0.996 - 0.004 * milky) & (b > 0.35)).float() * (0.03 + 0.25 * c**4)
    star = star.unsqueeze(1)
    soft = F.avg_pool2d(F.pad(star, (1, 1, 1, 1)), 3, stride=1) * 2.5
    star = torch.maximum(star * 0.9, soft * 0.9)
    tint = torch.stack([0.9 + 0.2 * b, torch.ones_like(b), 1.15 - 0.2 * b], 1)
    dust = 0.035 * milky.unsqueeze(1) * rgb(0.9, 0.95, 1.15, el)
    return (star * tint + dust) * smooth(0.0, 0.1, el.unsqueeze(1)) * 3
