"""Clouds, drawn far to near at single resolution: cirrus, a sheet, rows of cumulus."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import TAU, channel, lerp, smooth
from panoweave.core.embedded.training.renderer.noise import PUFF, ROUGH, SOFT, Noise
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sky import Light, SkyView

_ROWS = (52000.0, 33000.0, 21000.0, 13500.0, 8500.0, 5200.0)  # distances of cumulus, metres


class Layers:
    """Layers put over one another: premixed colour (B, 3, W, H) and opacity (B, 1, W, H)."""

    def __init__(self, colour: Tensor, opacity: Tensor):
        self.colour, self.opacity = colour, opacity

    def put(self, colour: Tensor, opacity: Tensor) -> None:
        """Lays a layer over those before."""
        behind = self.opacity * (1 - opacity)
        total = opacity + behind
        mixed = colour * opacity + self.colour * behind
        self.colour, self.opacity = mixed / total.clamp(min=1e-4), total


class CloudPainter:
    """Light and geometry that all clouds of a batch share."""

    def __init__(self, batch: Batch, nz: Noise, light: Light, view: SkyView):
        p, palette = batch.numbers, batch.colours
        self.batch, self.p, self.nz, self.light = batch, p, nz, light
        self.el = view.elevation.clamp(min=0.004)
        self.tan, self.theta, self.dphi = self.el.tan(), view.theta, view.from_sun
        self.cos, self.sin = self.theta.cos(), self.theta.sin()
        over = channel(p["overcast"])
        self.horizon = light.dome.look(torch.full_like(self.el, 0.05), self.dphi)
        self.horizon = lerp(self.horizon, light.dull, over * 0.9)
        sun_el = p["sun_el"].unsqueeze(1)
        sun = light.dome.air.sunlight_at_clouds(sun_el) * smooth(-0.17, 0.0, sun_el)
        dusk = 0.4 * smooth(0.25, 0.0, sun_el) * (1 - p["night"].unsqueeze(1))
        sun = sun * lerp(torch.ones_like(palette["dusk_warm"]), palette["dusk_warm"], dusk)
        side = 0.25 + 0.75 * (0.5 + 0.5 * self.dphi.cos()) ** 1.5
        sun = sun * lerp(1.0, side, smooth(0.0, -0.06, p["sun_el"])).unsqueeze(1)
        self.sun = sun * (1 - 0.9 * over)
        self.cos_sun = self.el.sin() * p["sun_el"].sin()
        self.cos_sun = self.cos_sun + self.el.cos() * p["sun_el"].cos() * self.dphi.cos()
        self.glow = 0.6 / (1 + 14 * (1 - self.cos_sun)) + 0.16

    def _plane(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Points of a level layer, turned into the high wind."""
        x, y = distance * self.cos + self.p["drift"], distance * self.sin
        c, s = (self.p["wind"] * 1.7).cos(), (self.p["wind"] * 1.7).sin()
        return c * x - s * y, s * x + c * y

    def cirrus(self) -> Layers:
        """Combed wisps in a few patches."""
        p = self.p
        x, y = self._plane(8000.0 / (self.tan + 0.03))
        big = self.nz.one(x, y, 70000.0)
        t = self.nz.tex(x * 0.13 + 900 * big, y + 500 * big, 19000.0, 0.0, slice(0, 2))
        comb = 0.55 * t[:, SOFT] + 0.45 * t[:, ROUGH] + 0.9 * big + p["cirrus"] * 2.4 - 1.0
        veil = smooth(0.0, 3.0, comb) * p["cirrus"].clamp(max=1) * smooth(0.02, 0.16, self.el)
        veil = channel(veil * (p["cirrus"] > 0.01))
        colour = self.sun * channel(self.glow * 0.55) + self.light.ambient * 0.8
        return Layers(colour, veil * 0.85)

    def sheet(self, layers: Layers) -> None:
        """Broken stratus, or the billowed underside of a storm; shafts of rain below it."""
        p, el = self.p, self.el
        d = p["sheet_h"] / (self.tan + 0.035)
        x, y = self._plane(d)
        a = self.nz.tex(x * 0.55, y, 14000.0, 0.0, slice(0, 3))
        b = self.nz.tex(x * 0.8, y, 3900.0, 0.3, slice(0, 3))
        fine = (0.34 * b[:, PUFF] + 0.14 * b[:, ROUGH]) * smooth(0.05, 0.3, el)
        relief = 0.75 * a[:, SOFT] + 0.30 * a[:, PUFF] + p["sheet_fine"] * fine
        alpha = smooth(-0.7, 0.9, relief + 3.4 * p["sheet"] - 1.7) * smooth(0.008, 0.07, el)
        alpha = torch.maximum(alpha, p["overcast"] * smooth(0.0, 0.03, el)) * (p["sheet"] > 0)
        dark = 0.10 + 0.38 * (0.5 + 0.6 * relief).clamp(0, 1.5) + 0.25 * smooth(0.05, 0.5, el)
        body = (1 - p["sheet_dark"] * dark).clamp(min=0.10)
        body = lerp(torch.ones_like(body), body, smooth(0.02, 0.16, el))
        light = self.light.dull * 0.95 + self.sun * channel(0.30 * self.glow)
        far = channel(1 - (-d / 60000).exp()) * 0.6
        layers.put(lerp(light * channel(body), self.horizon, far), channel(alpha))
        if self.batch.has("rain"):
            col = self.nz.fbm(2.2 * self.cos, 2.2 * self.sin, 3, 520, gain=0.6)
            streaks = self.theta * (8000.0 / TAU) + 900 * self.tan
            col = col + 0.12 * self.nz.one(streaks, self.tan * 260.0, 1000.0)
            shaft = p["rain"] * smooth(0.0, 1.1, col) * smooth(0.30, 0.06, el) * 0.6
            layers.put(lerp(light, self.horizon, 0.5) * 0.62, channel(shaft))

    def cumulus(self, layers: Layers, row: int) -> None:
        """One row of heaps with level feet."""
        p, nz, distance = self.p, self.nz, _ROWS[row]
        angle = self.theta + p["drift"] * (0.001 + 0.0007 * row)
        px, py = distance / 3400.0 * angle.cos(), distance / 3400.0 * angle.sin()
        wide = nz(px * 0.33, py * 0.33, 480 + row)
        # Far rows have no detail that is smaller than a few pixels.
        octaves = 4 if distance < 9000 else 3 if distance < 20000 else 2
        profile = nz.fbm(px, py, octaves, 400 + 7 * row, gain=0.42) + 0.8 * wide
        profile = (profile + 2.1 * p["cumulus"] - 1.12).clamp(min=0)
        tall = p["cloud_thick"] * (profile / 0.7).clamp(max=1.5) ** 0.62 * (p["cumulus"] > 0)
        foot = p["cloud_base"] / distance + 0.006 * nz(px * 0.5, py * 0.5, 470 + row)
        yy = (self.tan - foot) * distance  # metres above the feet
        q = self._texture(distance, max(2600.0, 0.42 * distance), yy, row)
        lobes = self._texture(distance, 2.6 * max(2600.0, 0.42 * distance), yy, row + 6)
        puff, soft = 0.8 * lobes[:, PUFF] + 0.42 * q[:, PUFF] + 0.12 * q[:, ROUGH], q[:, SOFT]
        lump = 0.34 * tall + 60.0
        depth = (tall - yy) / lump + 0.36 * puff + 0.10 * soft - 0.2
        edge = 1.4 / 326 * distance / 150.0
        mask = smooth(0.0, 0.30 + edge, depth) * smooth(20, 160, tall)
        mask = mask * _rooted(mask, yy < 0.25 * tall)
        mask = mask * smooth(-30 - 90 * edge, 60 + 60 * edge, yy + 22 * soft)
        ndl, ny = self._facing(depth.clamp(0, 2.2).sqrt() * 1.1 + 0.17 * puff, yy, row)
        high = smooth(-0.1, 1.0, yy / (tall + 150))
        near_sun = (0.5 + 0.5 * self.cos_sun).clamp(min=0)
        lit = ndl * (0.18 + 0.82 * high) * 0.36 + 0.05 + 0.10 * near_sun**12
        lit = lit + (1 - smooth(0.0, 0.8, depth)) * near_sun**6 * 0.35
        shade = channel((0.40 + 0.60 * high) * (0.85 + 0.15 * ny)) * channel(p["cloud_dark"])
        fill = self.light.ambient * 1.15 + 0.05 * self.sun.mean(1, keepdim=True)
        colour = self.sun * channel(lit) * 0.95 + fill * shade
        far = 1 - math.exp(-distance / 55000.0)
        layers.put(lerp(colour, self.horizon, far), channel(mask * (1 - 0.5 * far)))

    def _texture(self, distance: float, period: float, yy: Tensor, row: int) -> Tensor:
        """Textures on a row of clouds that repeat a whole number of times around."""
        repeats = round(TAU * distance / period)
        across = self.theta * distance + 0 * yy
        up = yy + 777.0 * row + 0 * self.theta
        return self.nz.tex(across, up, TAU * distance / repeats, 0.0, slice(0, 3))

    def _facing(self, form: Tensor, yy: Tensor, row: int) -> tuple[Tensor, Tensor]:
        """How far a relief faces the sun, in [0, 1], and how far it faces up."""
        p = self.p
        sun_el = p["sun_el"]
        across = TAU / form.shape[1] * _ROWS[row]
        fx = (torch.roll(form, -1, 1) - torch.roll(form, 1, 1)) / (2 * across)
        rise = F.pad(yy[..., 2:] - yy[..., :-2], (1, 1), mode="replicate").clamp(max=-1e-3)
        fy = F.pad(form[..., 2:] - form[..., :-2], (1, 1), mode="replicate") / rise
        relief = 210.0 if row > 3 else 160.0
        nx, ny = -fx * relief, -fy * relief
        inv = (1 + nx * nx + ny * ny).rsqrt()
        lx, ly = (-self.dphi).sin() * sun_el.cos(), sun_el.clamp(min=0.08).sin()
        lz = -(self.dphi.cos()) * sun_el.cos()
        ndl = (nx * lx + ny * ly + lz) * inv
        return ((ndl + 0.45) / 1.45).clamp(min=0), ny * inv


def _rooted(mask: Tensor, foot: Tensor) -> Tensor:
    """0 for puffs that hang detached above a gap, 1 for what rises from the foot (B, W, H)."""
    soft = torch.where(foot, torch.ones_like(mask), mask)[:, None]
    for _ in range(2):
        soft = F.pad(F.pad(soft, (0, 0, 4, 4), mode="circular"), (4, 4, 0, 0), mode="replicate")
        soft = F.avg_pool2d(soft, 9, stride=1)
    rooted = soft[:, 0].flip(-1).cummin(-1).values.flip(-1)
    return smooth(0.02, 0.30, rooted)


def paint_clouds(batch: Batch, nz: Noise, light: Light, view: SkyView) -> tuple[Tensor, Tensor]:
    """All clouds: colour (B, 3, W, H) and opacity (B, 1, W, H)."""
    painter = CloudPainter(batch, nz, light, view)
    layers = painter.cirrus()
    if batch.has("sheet"):
        painter.sheet(layers)
    if batch.has("cumulus"):
        for row in range(len(_ROWS)):
            painter.cumulus(layers, row)
    return layers.colour, layers.opacity
