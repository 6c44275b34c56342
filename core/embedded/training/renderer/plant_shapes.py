"""The shapes of the plants: grass, flowers, firs, pines, round trees, acacias, bushes."""

from __future__ import annotations

import math

import numpy as np

from panoweave.core.embedded.training.renderer.blobs import Array, Heap, turn
from panoweave.core.embedded.training.renderer.maths import TAU

# Of firs: width, taper, height of the lowest branch, raggedness, droop.
_FIRS = (
    (0.20, 0.85, 0.06, 0.0, 0.32),
    (0.135, 0.75, 0.03, 0.12, 0.5),
    (0.30, 0.92, 0.02, 0.05, 0.18),
    (0.20, 0.6, 0.24, 0.45, 0.38),
)
# Of round trees: crown radius, middle height, half height, lobes, lean. Round, tall, spreading,
# leaning, open.
_CROWNS = (
    (0.36, 0.60, 0.36, 10, 0.0),
    (0.24, 0.57, 0.42, 10, 0.02),
    (0.42, 0.58, 0.27, 12, -0.02),
    (0.34, 0.60, 0.34, 9, 0.05),
    (0.36, 0.58, 0.34, 7, -0.04),
)


def shape(kind: str, variant: int, rng: np.random.Generator) -> Array:
    """The ellipses of a plant, (N, 12): see `blobs.Heap.add`."""
    heap = Heap(rng)
    if kind in ("tuft", "bloom"):
        _grass(heap, kind == "bloom")
    elif kind == "pine" or (kind == "conifer" and variant == 4):
        _pine(heap, dead=variant == 4 or kind == "conifer")
    elif kind == "conifer":
        _fir(heap, variant)
    elif kind == "broad":
        _broad(heap, variant)
    elif kind == "acacia":
        _acacia(heap)
    else:
        _bush(heap)
    return heap.array()


def _grass(heap: Heap, bloom: bool) -> None:
    rng = heap.rng
    for i in range(46 if bloom else 95):
        x0, lean = rng.normal(0, 0.17), rng.normal(0, 0.16 if bloom else 0.25)
        tall, depth, tone = rng.uniform(0.35, 1.0), rng.random(), rng.random()
        x, y = x0, 0.0
        for t in np.linspace(0, 1, int(60 * tall)):
            x, y = x0 + lean * t * t, tall * t * (1 - 0.25 * abs(lean) * t)
            thick = (0.013 * (1 - 0.8 * t), 0.014)
            heap.add((x, y, depth), thick, (lean, 0.8, 0.4), 0.20 + 0.80 * t, tone)
        if bloom and i % 2 == 0:
            e = rng.uniform(0.026, 0.05)
            for _ in range(3):
                place = (x + rng.normal(0, 0.02), y + rng.normal(0, 0.014), depth + 0.01)
                shade = float(np.clip(tone * 0.5 + rng.random() * 0.5, 0, 1))
                heap.add(place, (e, e * 0.72), (0.1, 0.9, 0.5), 1.0, shade, 0.0, 1.0)


def _pine(heap: Heap, dead: bool) -> None:
    """A long stem with rounded heads of needles on rising boughs; or a bare one."""
    rng = heap.rng
    bend = rng.normal(0, 0.03)
    heap.limb((0, 0), (bend, 0.93), (0.017, 0.006), -0.2)
    for _ in range(22 if dead else 17):
        h, phi = rng.uniform(0.25 if dead else 0.42, 0.92), rng.uniform(0, TAU)
        reach = (0.05 + 0.16 * rng.random()) * (1.15 - 0.75 * h) * (1.0 if dead else 1.75)
        x1, depth = bend * h + reach * math.cos(phi), reach * math.sin(phi)
        y1 = h + (-0.04 if dead else 0.05 * rng.random() + 0.35 * reach) + rng.normal(0, 0.02)
        heap.limb((bend * h, h), (x1, y1), (0.006, 0.002), depth * 0.5)
        for _ in range(0 if dead else 3):
            middle = (x1 * rng.uniform(0.55, 1.1), y1 + rng.normal(0, 0.025))
            _needles(heap, np.array([*middle, depth * rng.uniform(0.5, 1.1)]))
    if not dead:
        _needles(heap, np.array([bend, 0.95, 0.0]))


def _needles(heap: Heap, middle: Array) -> None:
    """A rounded head of needles, light above and dark below."""
    rng = heap.rng
    size = rng.uniform(0.045, 0.075)
    for _ in range(60):
        d = heap.direction()
        q = middle + d * np.array([1.15, 0.72, 1.15]) * size * rng.uniform(0.5, 1.1)
        lit = float(np.clip(0.50 + 0.42 * d[1] + 0.08 * d[2], 0.12, 1))
        heap.add(q, (0.012, 0.009), d + np.array([0, 0.45, 0.1]), lit, rng.random())


def _fir(heap: Heap, variant: int) -> None:
    rng = heap.rng
    width, power, foot, ragged, droop = _FIRS[variant]
    heap.limb((0, 0), (0, 0.93), (0.016, 0.004), -0.4)
    levels = int(rng.integers(22, 30)) if ragged < 0.3 else 19
    for i in range(levels):
        h = foot + (1 - foot) * (i / levels) ** 0.92
        if rng.random() < ragged * 0.5:
            continue
        for phi in rng.uniform(0, TAU, 11 if ragged < 0.3 else 8):
            reach = width * (1 - h) ** power * rng.uniform(0.6 - 0.4 * ragged, 1.15) + 0.008
            cos, sin = turn(phi)
            for t in np.linspace(0.25, 1, 5):
                q = reach * t
                y = h - droop * q - droop * 1.1 * q * t + rng.normal(0, 0.004)
                thick = 0.011 + 0.02 * (1 - h) * rng.uniform(0.6, 1.2)
                radii = (thick, 0.008 + 0.006 * rng.random())
                normal = (cos * 0.9, 0.55 + 0.3 * rng.normal(), sin * 0.9)
                heap.add((q * cos, y, q * sin), radii, normal, 0.35 + 0.65 * t**1.2, rng.random())


def _broad(heap: Heap, variant: int) -> None:
    """A crown of a few lobes on a forked stem."""
    rng = heap.rng
    rx, cy, ry, lobes, lean = _CROWNS[variant]
    heap.limb((0, 0), (lean * 0.4, 0.34), (0.027, 0.018))
    for _ in range(lobes):
        v = heap.direction() * rng.uniform(0.45, 1.0)
        c = np.array([lean + v[0] * rx * 0.75, cy + v[1] * ry * 0.75, v[2] * rx * 0.75])
        heap.limb((lean * 0.4, 0.30), (c[0], c[1]), (0.012, 0.003), c[2] * 0.3)
        size = rng.uniform(0.11, 0.18) * (0.8 if variant == 1 else 1.0)
        lobe_tone = rng.random()
        for _ in range(9):
            o = c + heap.direction() * size * np.array([1.2, 0.75, 1.2]) * rng.uniform(0.5, 0.95)
            s2 = rng.uniform(0.035, 0.06)
            tone = float(np.clip(lobe_tone * 0.6 + rng.random() * 0.4, 0, 1))
            for _ in range(44):
                d = heap.direction()
                q = o + d * s2 * np.array([1.2, 0.85, 1.2]) * rng.uniform(0.7, 1.2)
                out = (q - c) / size
                whole = np.array([(q[0] - lean) / rx, (q[1] - cy) / ry, q[2] / rx])
                lit = 0.30 + 0.22 * np.linalg.norm(out) + 0.28 * d[1]
                lit = float(np.clip(lit + 0.20 * out[1] + 0.12 * whole[1], 0.10, 1))
                e = rng.uniform(0.008, 0.016)
                radii = (e * rng.uniform(0.8, 1.4), e)
                normal = 0.5 * d + 0.55 * out + 0.25 * whole + np.array([0, 0.2, 0.1])
                shade = float(np.clip(tone + rng.normal(0, 0.12), 0, 1))
                heap.add(q, radii, normal, lit, shade)


def _acacia(heap: Heap) -> None:
    rng = heap.rng
    rx, clusters = rng.uniform(0.36, 0.42), int(rng.integers(26, 34))
    for _ in range(int(rng.integers(3, 6))):
        x1 = rng.uniform(-0.28, 0.28)
        heap.limb((rng.normal(0, 0.008), 0.0), (x1 * 0.22, 0.42), (0.017, 0.010))
        heap.limb((x1 * 0.22, 0.42), (x1, 0.84), (0.009, 0.004))
    _leaves(heap, (rx, 0.86, 0.10), clusters, 0.7)


def _bush(heap: Heap) -> None:
    rng = heap.rng
    rx, clusters = rng.uniform(0.34, 0.42), int(rng.integers(34, 46))
    _leaves(heap, (rx, 0.30, 0.40), clusters, 1.0)


def _leaves(heap: Heap, crown: tuple[float, float, float], clusters: int, scale: float) -> None:
    """Clusters of leaves in an ellipsoid: `crown` is its radius, middle height, half height."""
    rng = heap.rng
    rx, cy, ry = crown
    for _ in range(clusters):
        v = heap.direction() * rng.random() ** 0.4
        middle = [v[0] * rx, cy + v[1] * ry * (0.8 if v[1] < 0 else 1.0), v[2] * rx]
        c = np.array(middle) * np.array([0.85, 1, 0.85])
        size = rng.uniform(0.055, 0.11) * scale
        tone = rng.random()
        for _ in range(70):
            d = heap.direction()
            q = c + d * size * np.array([1.15, 0.85, 1.15]) * rng.uniform(0.75, 1.15)
            out = np.array([q[0] / rx, (q[1] - cy) / ry * 0.8, q[2] / rx])
            lit = 0.30 + 0.35 * np.linalg.norm(out) + 0.30 * d[1] + 0.12 * out[1]
            e = rng.uniform(0.008, 0.017)
            if q[1] > 0.0:
                radii = (e * rng.uniform(0.8, 1.4), e)
                normal = 0.55 * d + 0.6 * out + np.array([0, 0.2, 0.15])
                shade = float(np.clip(tone + rng.normal(0, 0.12), 0, 1))
                heap.add(q, radii, normal, float(np.clip(lit, 0.12, 1)), shade)
