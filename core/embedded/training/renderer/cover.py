"""What lies on the land at a point: the scene's path, and the crowns of distant trees."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer.maths import hash2, lerp

Numbers = dict[str, Tensor]


def path_of(p: Numbers, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Distance across (signed) and along the path (footpath, road, stream or tracks), in metres."""
    c, s = p["path_a"].cos(), p["path_a"].sin()
    u, v = c * x + s * y, -s * x + c * y
    p1, p2 = 7 * p["path_a"], 3 * p["wind"]
    middle = p["path_o"] + 5 * ((u / 37 + p1).sin() - p1.sin())
    middle = middle + 17 * ((u / 105 + p2).sin() - p2.sin())
    bend = 5 / 37 * (u / 37 + p1).cos() + 17 / 105 * (u / 105 + p2).cos()
    return (v - middle) * (1 + bend * bend).rsqrt(), u


def canopy(p: Numbers, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Crowns on a jittered lattice of `tree_gap` metres.

    Returns height as a share of the tallest, the vector from the stem in crown radii, and a random
    tone per tree, each of the shape of `x`.
    """
    gx, gy = x / p["tree_gap"], y / p["tree_gap"]
    ix, iy = gx.floor(), gy.floor()
    best = torch.zeros_like(gx) - 1
    ox, oy, tone = torch.zeros_like(best), torch.zeros_like(best), torch.zeros_like(best)
    fx, fy = (gx - ix) - 0.5, (gy - iy) - 0.5
    for i in (0, 1):
        for j in (0, 1):
            sx = torch.where(fx > 0, float(i), -float(i))
            sy = torch.where(fy > 0, float(j), -float(j))
            a, b, c = hash2(ix + sx, iy + sy, 1)
            dx = fx - sx - (a - 0.5) * 0.6
            dy = fy - sy - (b - 0.5) * 0.6
            radius = (0.62 + 0.25 * c) * p["crown"]
            d2 = (dx * dx + dy * dy) / (radius * radius)
            cone, dome = 1 - d2.sqrt(), (1 - d2).clamp(min=0).sqrt()
            height = lerp(dome, cone, p["conifer"]) * (0.55 + 0.6 * c)
            win = height > best
            best = torch.where(win, height, best)
            ox = torch.where(win, dx / radius, ox)
            oy = torch.where(win, dy / radius, oy)
            tone = torch.where(win, (a * 7.13 + b * 3.7 + c) % 1.0, tone)
    return best.clamp(min=0), ox, oy, tone
