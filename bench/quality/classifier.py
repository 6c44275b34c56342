"""Whether windows show what the prompt names: a classifier trained on held-out renders.

One linear layer for each of biome, time and weather, on the means and deviations of every stage of
ST-LPIPS's VGG16. It learns from three quarters of the renders; the rest say how far to trust it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.quality.features import Features
from bench.quality.intervals import Figure, ratio_of
from bench.quality.labels import ATTRIBUTES, Attribute, Labels

_TEST_EVERY: Final = 4  # of the panoramas, so that no scene is on both sides
_DECAY: Final = 3e-3
_STEPS: Final = 60


@dataclass(frozen=True)
class Head:
    """Tells the values of one attribute apart."""

    values: Sequence[str]
    layer: nn.Linear


class Classifier:
    """Reads biome, time and weather off windows."""

    def __init__(self, mean: Tensor, deviation: Tensor, heads: Mapping[Attribute, Head]) -> None:
        self._mean, self._deviation, self._heads = mean, deviation, heads

    @torch.no_grad()
    def read(self, look: Features) -> dict[Attribute, list[str]]:
        """What each window shows."""
        rows = (torch.from_numpy(look) - self._mean) / self._deviation
        return {
            attribute: [head.values[int(i)] for i in head.layer(rows).argmax(1)]
            for attribute, head in self._heads.items()
        }


@dataclass(frozen=True)
class Examined:
    """A classifier, and its accuracy on windows of panoramas that it did not see."""

    classifier: Classifier
    accuracy: Mapping[Attribute, Figure | None]


def train(
    panoramas: Sequence[Features],
    labels: Sequence[Sequence[Labels]],
    legal: Mapping[Attribute, Sequence[str]],
) -> Examined:
    """Learn from most panoramas, and read the others."""
    seen = [i for i in range(len(panoramas)) if i % _TEST_EVERY]
    held_out = [i for i in range(len(panoramas)) if not i % _TEST_EVERY]
    if not seen:
        raise ValueError(f"the classifier needs at least 2 renders, not {len(panoramas)}")
    rows = torch.from_numpy(np.concatenate([panoramas[i] for i in seen]))
    of_rows = [window for i in seen for window in labels[i]]
    mean, deviation = rows.mean(0), rows.std(0).clamp_min(1e-6)
    normal = (rows - mean) / deviation
    heads = {a: Head(legal[a], _fit(normal, of_rows, a, legal[a])) for a in ATTRIBUTES}
    classifier = Classifier(mean, deviation, heads)
    read = [classifier.read(panoramas[i]) for i in held_out]
    asked = [labels[i] for i in held_out]
    return Examined(classifier, {a: _share_right(read, asked, a) for a in ATTRIBUTES})


def recall(
    classifier: Classifier, panoramas: Sequence[Features], asked: Sequence[Labels]
) -> dict[Attribute, Figure | None]:
    """The share of windows that show what their prompt names; None where no prompt names it."""
    read = [classifier.read(look) for look in panoramas]
    labels = [[each] * len(look) for each, look in zip(asked, panoramas, strict=True)]
    return {attribute: _share_right(read, labels, attribute) for attribute in ATTRIBUTES}


def _share_right(
    read: Sequence[Mapping[Attribute, Sequence[str]]],
    asked: Sequence[Sequence[Labels]],
    attribute: Attribute,
) -> Figure | None:
    right: list[float] = []
    of: list[float] = []
    for own, labels in zip(read, asked, strict=True):
        wanted = [window[attribute] for window in labels]
        right.append(sum(a == b for a, b in zip(own[attribute], wanted, strict=True)))
        of.append(sum(each is not None for each in wanted))
    return ratio_of(right, of)


def _fit(
    rows: Tensor, labels: Sequence[Labels], attribute: Attribute, values: Sequence[str]
) -> nn.Linear:
    """Softmax regression with weight decay, from zero: no randomness."""
    known = [i for i, label in enumerate(labels) if label[attribute] is not None]
    inputs = rows[known]
    targets = torch.tensor([values.index(str(labels[i][attribute])) for i in known])
    layer = nn.Linear(rows.shape[1], len(values))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    if not known:  # no window shows it, so there is nothing to learn or to ask
        return layer
    optimiser = torch.optim.LBFGS(
        layer.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(layer(inputs), targets)
        loss = loss + _DECAY * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return layer


def look_of(features: Sequence[Mapping[str, NDArray[np.float32]]]) -> list[Features]:
    """The features that the classifier reads, by panorama."""
    return [each["look"] for each in features]
