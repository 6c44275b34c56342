"""Whether windows show what the prompt names: a classifier trained on held-out renders.

One linear layer for each of biome, time and weather, on the looks of windows. It learns from three
quarters of the renders; the rest say how far to trust it. A window has one time and one weather,
and any number of biomes. Each biome is read by itself, from a certain score on, which is chosen so
that as many biomes are read as there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.quality.features import Features
from bench.quality.intervals import Figure, ratio_of
from bench.quality.labels import ATTRIBUTES, VALUES, Attribute, Labels

_SEVERAL: Final[Attribute] = "biome"
_TEST_EVERY: Final = 4  # of the panoramas, so that no scene is on both sides
_FOLDS: Final = 3
_DECAY: Final = 3e-3
_STEPS: Final = 60


class Classifier:
    """Reads biome, time and weather off windows."""

    def __init__(
        self,
        mean: Tensor,
        deviation: Tensor,
        layers: Mapping[Attribute, nn.Linear],
        biomes_from: float,  # the least score of a biome that is read
    ) -> None:
        self._mean, self._deviation, self._layers = mean, deviation, layers
        self._biomes_from = biomes_from

    @torch.no_grad()
    def read(self, look: Features) -> list[Labels]:
        """What each window shows."""
        rows = (torch.from_numpy(look) - self._mean) / self._deviation
        read: dict[Attribute, list[frozenset[str]]] = {}
        for attribute, layer in self._layers.items():
            scores = layer(rows)
            # Of times and weathers, the likeliest.
            least = self._biomes_from if attribute == _SEVERAL else scores.amax(1, keepdim=True)
            values = np.array(VALUES[attribute])
            read[attribute] = [frozenset(values[row].tolist()) for row in (scores >= least).numpy()]
        return [{a: read[a][window] for a in ATTRIBUTES} for window in range(len(look))]


@dataclass(frozen=True)
class Examined:
    """A classifier, and how it reads windows of panoramas that it did not see."""

    classifier: Classifier
    accuracy: Mapping[Attribute, Figure | None]  # the share of what is there that it reads
    precision: Figure | None  # the share of the biomes it reads that are there


def train(panoramas: Sequence[Features], labels: Sequence[Sequence[Labels]]) -> Examined:
    """Learn from most panoramas, and read the others."""
    seen = [i for i in range(len(panoramas)) if i % _TEST_EVERY]
    held_out = [i for i in range(len(panoramas)) if not i % _TEST_EVERY]
    if not seen:
        raise ValueError(f"the classifier needs at least 2 renders, not {len(panoramas)}")
    rows = torch.from_numpy(np.concatenate([panoramas[i] for i in seen]))
    of_rows = [window for i in seen for window in labels[i]]
    folds = [at % _FOLDS for at, i in enumerate(seen) for _ in labels[i]]
    mean, deviation = rows.mean(0), rows.std(0).clamp_min(1e-6)
    normal = (rows - mean) / deviation
    classifier = Classifier(
        mean,
        deviation,
        {a: _fit(normal, of_rows, a) for a in ATTRIBUTES},
        _least_score(normal, of_rows, folds),
    )
    read = [classifier.read(panoramas[i]) for i in held_out]
    there = [labels[i] for i in held_out]
    return Examined(
        classifier,
        {a: _share_found(there, read, a) for a in ATTRIBUTES},
        _share_found(read, there, _SEVERAL),
    )


def recall(
    classifier: Classifier, panoramas: Sequence[Features], asked: Sequence[Labels]
) -> dict[Attribute, Figure | None]:
    """The share of what prompts name that their windows show; None where no prompt names any."""
    read = [classifier.read(look) for look in panoramas]
    labels = [[each] * len(look) for each, look in zip(asked, panoramas, strict=True)]
    return {attribute: _share_found(labels, read, attribute) for attribute in ATTRIBUTES}


def _share_found(
    sought: Sequence[Sequence[Labels]], among: Sequence[Sequence[Labels]], attribute: Attribute
) -> Figure | None:
    """The share of one side's labels that the other has, window by window."""
    found: list[float] = []
    of: list[float] = []
    for these, those in zip(sought, among, strict=True):
        pairs = [(a[attribute], b[attribute]) for a, b in zip(these, those, strict=True)]
        found.append(sum(len(a & b) for a, b in pairs))
        of.append(sum(len(a) for a, _ in pairs))
    return ratio_of(found, of)


def _least_score(rows: Tensor, labels: Sequence[Labels], folds: Sequence[int]) -> float:
    """From which score on as many biomes are read as there are.

    Even odds would read too few: rare ones get small scores in windows that were not learnt from.
    So these are scored by classifiers that learnt from the other folds.
    """
    scores = torch.zeros(len(rows), len(VALUES[_SEVERAL]))
    for each in range(_FOLDS):
        learnt = [i for i, fold in enumerate(folds) if fold != each]
        others = [i for i, fold in enumerate(folds) if fold == each]
        layer = _fit(rows[learnt], [labels[i] for i in learnt], _SEVERAL)
        scores[others] = layer(rows[others]).detach()
    there = sum(len(label[_SEVERAL]) for label in labels)
    return scores.flatten().topk(there).values[-1].item() if there else math.inf


def _fit(rows: Tensor, labels: Sequence[Labels], attribute: Attribute) -> nn.Linear:
    """Logistic regression with weight decay, from zero: no randomness."""
    values, several = VALUES[attribute], attribute == _SEVERAL
    known = [i for i, label in enumerate(labels) if several or label[attribute]]
    inputs = rows[known]
    targets = torch.tensor(
        [[float(value in labels[i][attribute]) for value in values] for i in known]
    )
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
        scores = layer(inputs)
        if several:
            each = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
            loss = each.sum(1).mean()
        else:
            loss = nn.functional.cross_entropy(scores, targets)
        loss = loss + _DECAY * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return layer


def look_of(features: Sequence[Mapping[str, NDArray[np.float32]]]) -> list[Features]:
    """The features that the classifier reads, by panorama."""
    return [each["look"] for each in features]
