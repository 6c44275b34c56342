"""Single scattering of sunlight in a clear atmosphere. Heights and lengths in metres."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import rgb, smooth

_EARTH = 6371e3
_TOP = _EARTH + 90e3
_EYE = 300.0
_SUN = 20.0  # brightness above the atmosphere


class Atmosphere:
    """Air, dust and ozone; the dust is the scene's own."""

    def __init__(self, mie: Tensor):
        self.rayleigh = rgb(5.8e-6, 13.5e-6, 33.1e-6, mie)
        self.ozone = rgb(0.65e-6, 1.881e-6, 0.085e-6, mie)
        self.mie = (mie * 4e-6).unsqueeze(1)  # (B, 1, 1, 1)

    def transmit(self, height: Tensor, cos_zenith: Tensor) -> Tensor:
        """How much light passes from space to a height, (B, 3, ..)."""
        air, dust, ozone = _depth(height, cos_zenith)
        return self._passes(air, dust, ozone)

    def sunlight(self, elevation: Tensor, height: float = _EYE) -> Tensor:
        """The sun's colour at an elevation (B, 1, 1, 1) -> (B, 3, 1, 1)."""
        cos_zenith = elevation.clamp(min=-0.004).sin()
        light = self.transmit(torch.full_like(elevation, height), cos_zenith)
        return light * _SUN * smooth(-0.02, 0.015, elevation)

    def sunlight_at_clouds(self, elevation: Tensor) -> Tensor:
        """The same at 3 km, where the sun reddens less."""
        cos_zenith = (elevation + 0.03).sin().clamp(min=0.0)
        return self.transmit(torch.full_like(elevation, 3000.0), cos_zenith) * _SUN

    def _passes(self, air: Tensor, dust: Tensor, ozone: Tensor) -> Tensor:
        return (-(self.rayleigh * air + 1.1 * self.mie * dust + self.ozone * ozone)).exp()

    def sky(self, sun: Tensor, elevation: Tensor, azimuth: Tensor, steps: int = 20) -> Tensor:
        """Sky colour (B, 3, E, A) for elevations (1, 1, E, 1) and azimuths from the sun."""
        cosz = elevation.sin() + 0 * azimuth
        cos_sun = elevation.sin() * sun.sin() + elevation.cos() * sun.cos() * azimuth.cos()
        rr = _EARTH + _EYE
        b = rr * cosz
        longest = -b + (b * b + _TOP**2 - rr * rr).sqrt()
        g = 0.76
        pr = 3 / (16 * math.pi) * (1 + cos_sun**2)
        pm = 3 / (8 * math.pi) * (1 - g * g) * (1 + cos_sun**2)
        pm = pm / ((2 + g * g) * (1 + g * g - 2 * g * cos_sun) ** 1.5)
        total = torch.zeros_like(cos_sun)
        air, dust, ozone = total, total, total
        for i in range(steps):
            t0, t1 = (i / steps) ** 2, ((i + 1) / steps) ** 2
            t, dt = longest * (t0 + t1) / 2, longest * (t1 - t0)
            r2 = (rr * rr + t * t + 2 * t * b).sqrt()
            alt = (r2 - _EARTH).clamp(min=0)
            er, em = (-alt / 8000).exp() * dt, (-alt / 1200).exp() * dt
            eo = _ozone(alt) * dt
            mu = (rr * sun.sin() + t * cos_sun) / r2
            light = self.transmit(alt, mu)
            view = self._passes(air + er / 2, dust + em / 2, ozone + eo / 2)
            soft = self.transmit(alt, mu.clamp(min=0.0) * 0.6 + 0.12)
            soft = 0.35 / (4 * math.pi) * soft * smooth(-0.16, 0.1, sun)
            scattered = light * (self.rayleigh * er * pr + self.mie * em * pm)
            total = total + view * (scattered + soft * (self.rayleigh * er + self.mie * em))
            air, dust, ozone = air + er, dust + em, ozone + eo
        return total * _SUN


def _ozone(altitude: Tensor) -> Tensor:
    return (1 - (altitude - 25000).abs() / 15000).clamp(min=0)


def _depth(height: Tensor, cosz: Tensor, steps: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Air, dust and ozone towards a zenith cosine; huge where the earth is in the way."""
    rr = _EARTH + height
    b = rr * cosz
    longest = -b + (b * b + _TOP**2 - rr * rr).clamp(min=0).sqrt()
    hit = (cosz < 0) & (b * b - rr * rr + _EARTH**2 > 0)
    air = torch.zeros_like(b)
    dust, ozone = air, air
    for i in range(steps):
        t0, t1 = (i / steps) ** 2, ((i + 1) / steps) ** 2
        t = longest * (t0 + t1) / 2
        dt = longest * (t1 - t0)
        alt = ((rr * rr + t * t + 2 * t * b).sqrt() - _EARTH).clamp(min=0)
        air = air + (-alt / 8000).exp() * dt
        dust = dust + (-alt / 1200).exp() * dt
        ozone = ozone + _ozone(alt) * dt
    return air, dust + hit * 1e9, ozone
