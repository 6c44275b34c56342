"""Random choices of a scene, and the numbers chosen so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from panoweave.core.embedded.training.renderer.defaults import COLOURS, NUMBERS
from panoweave.core.embedded.training.renderer.scene import Colour

T = TypeVar("T")


class Draft:
    """A scene while it is drawn up."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.numbers: dict[str, float] = dict(NUMBERS)
        self.colours: dict[str, Colour] = dict(COLOURS)

    def set(self, **values: float | Colour) -> None:
        """Numbers and colours by name; a name that `defaults` lacks is an error."""
        for name, value in values.items():
            if name in self.colours and isinstance(value, tuple):
                self.colours[name] = value
            elif name in self.numbers and not isinstance(value, tuple):
                self.numbers[name] = float(value)
            else:
                raise KeyError(f"scenes have no such number or colour: {name}")

    def pick(self, options: Sequence[T], shares: Sequence[float] | None = None) -> T:
        """One of the options, evenly or by their shares."""
        return options[int(self.rng.choice(len(options), p=shares))]

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True in that share of scenes."""
        return bool(self.rng.random() < share)

    def scale(self, name: str, factor: float) -> None:
        """Multiplies a number."""
        self.numbers[name] *= factor

    def vary(self, colour: Colour, amount: float = 0.15, hue: float = 0.08) -> Colour:
        """A colour a little lighter or darker, and of another hue."""
        value = math.exp(self.between(-amount, amount))
        red, green, blue = (
            max(0.004, k * value * math.exp(self.between(-hue, hue))) for k in colour
        )
        return red, green, blue
