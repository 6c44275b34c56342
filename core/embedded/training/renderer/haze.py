"""Haze and banks of fog between the camera and what it sees."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.frame import Frame, Hits
from panoweave.core.embedded.training.renderer.maths import lerp, rgb, smooth
from panoweave.core.embedded.training.renderer.noise import Noise
from panoweave.core.embedded.training.renderer.scene import Batch
from panoweave.core.embedded.training.renderer.sky import Light


class Haze:
    """The air of a batch: its colour per column, and how much passes through it."""

    def __init__(self, batch: Batch, frame: Frame, light: Light, camera: Tensor):
        p = batch.numbers
        self.p, self.batch, self.frame = p, batch, frame
        self.camera = camera.unsqueeze(1)  # metres, (B, 1, 1, 1)
        self.beta = rgb(0.75, 1.0, 1.38, camera)
        self.density = p["haze"].unsqueeze(1) * self.beta
        self.fog = p["fog"].unsqueeze(1)
        self.fog_beta = lerp(self.beta, torch.ones_like(self.beta), 0.9)
        self.fog_top = p["fog_top"].unsqueeze(1)
        self.colour = self._colour(light)  # (B, 3, W, 1)

    def _colour(self, light: Light) -> Tensor:
        """That of the sky above the horizon in each direction."""
        p = self.p
        low = torch.full((1, 1, 1), 0.035, device=self.camera.device)
        c = light.dome.look(low, self.frame.theta - p["sun_az"])
        c = lerp(c, c.mean(1, keepdim=True), 0.25 * smooth(0.3, 0.05, p["sun_el"]).unsqueeze(1))
        level = c.mean(1, keepdim=True) / c.mean((1, 2, 3), keepdim=True)
        c = c / (1 + 0.35 * level) * 1.3
        c = lerp(c, light.dull * 1.1, light.overcast * 0.92)
        dusk = 0.55 * smooth(0.03, -0.06, p["sun_el"]).unsqueeze(1) * (1 - p["night"].unsqueeze(1))
        c = lerp(c, c.mean(1, keepdim=True) * rgb(0.80, 0.95, 1.3, c), dusk)
        foggy = 0.65 * smooth(0.0, 4e-4, self.fog)
        return lerp(c, c.mean(1, keepdim=True) * rgb(0.97, 1.0, 1.04, c), foggy)

    def through(self, nz: Noise, hits: Hits) -> Tensor:
        """The share of light that comes from what each pixel sees, (B, 3, W, H)."""
        z, r = hits.z.unsqueeze(1), hits.r.unsqueeze(1)
        middle = ((self.camera + z) * 0.5).clamp(min=0)
        path = r * (-middle / self.p["haze_height"].unsqueeze(1)).exp()
        rise = z - self.camera
        # The share of the ray that runs below the top of the fog.
        below = (self.fog_top - torch.minimum(self.camera, z)) / rise.abs().clamp(min=1)
        level = (self.camera < self.fog_top).float().expand_as(rise)
        below = torch.where(rise.abs() < 1, level, below.clamp(0, 1))
        fog = self.fog * below * r
        if self.batch.has("fog"):
            fog = fog * (1 + 0.5 * nz.one(hits.x, hits.y, 3500.0, 0.5)).clamp(min=0.1).unsqueeze(1)
        return (-self.density * path - fog * self.fog_beta).exp()

    def to(self, scene: Tensor, distance: Tensor, height: Tensor) -> Tensor:
        """The same for points of scenes (N,) at distances and heights (N, 1): (3, N, 1)."""
        camera, top = self.camera[scene, 0, 0], self.fog_top[scene, 0, 0]
        below = (top - torch.minimum(camera, height)) / (height - camera).abs().clamp(1)
        fog = self.fog[scene, 0, 0] * below.clamp(0, 1)
        density = self.density[scene, :, 0].transpose(0, 1)
        return (-(density + fog * self.fog_beta[0]) * distance).exp()

    def over_sky(self, sky: Tensor) -> Tensor:
        """Fog also veils the low sky (B, 3, W, H)."""
        up = self.frame.tan.unsqueeze(1).clamp(min=0)
        veil = 1 - (-self.fog * 2500 * (-up / 0.06).exp()).exp()
        return lerp(sky, self.colour, veil.clamp(0, 1) * (self.fog > 0))
