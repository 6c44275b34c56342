"""How far a set of windows is from a reference: KID, FID, GIQA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_kernel

from bench.quality.features import Features
from bench.quality.intervals import Array, Figure, draw_counts

_NEIGHBOURS: Final = 8  # GIQA's K
# A covariance of D dimensions from fewer windows than this many times D says nothing.
FID_WINDOWS_PER_DIMENSION: Final = 4


@dataclass(frozen=True)
class _Kernel:
    """Sums of the kernel by panorama: all that a bootstrap over panoramas needs."""

    between: Array  # (P, Q): over the windows of one panorama and those of another
    same: Array  # (P,): over pairs of different windows of one panorama
    windows: Array  # (P,)

    @classmethod
    def within(cls, panoramas: Sequence[Features]) -> Self:
        kernel, owner = _kernel(panoramas, panoramas), _owners(panoramas)
        between = owner @ kernel @ owner.T
        same = np.diag(between) - owner @ np.diag(kernel)
        return cls(between - np.diag(np.diag(between)), same, owner.sum(1))

    def mean(self, counts: Array, same: bool) -> Array:
        """The mean over pairs (R,), for panoramas drawn so often (R, P).

        Two copies of one panorama are no pair: their windows are equal because they are drawn
        twice. `same`: whether two windows of one panorama are a pair.
        """
        total = np.einsum("rp,pq,rq->r", counts, self.between, counts)
        pairs = (counts @ self.windows) ** 2 - counts**2 @ self.windows**2
        if same:
            total = total + counts @ self.same
            pairs = pairs + counts @ (self.windows * (self.windows - 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Array = total / pairs
        return mean


@dataclass(frozen=True)
class Kid:
    """Of all windows, as published; and of pairs from different panoramas alone.

    The windows of one panorama resemble one another, and the more so the more coherent it is. The
    first figure counts that as a distance from the reference; the second does not, so it is the
    one that tells whether coherence has cost quality.
    """

    all_pairs: Figure
    between: Figure


def kid(panoramas: Sequence[Features], reference: Sequence[Features]) -> Kid:
    """The unbiased squared MMD with KID's cubic kernel (arXiv 1801.01401), without subsets."""
    if min(len(panoramas), len(reference)) < 2:
        raise ValueError("KID needs at least two panoramas on either side")
    ours, theirs = _Kernel.within(panoramas), _Kernel.within(reference)
    cross = _owners(panoramas) @ _kernel(panoramas, reference).mean(1)
    drawn, once = draw_counts(len(panoramas)), np.ones((1, len(panoramas)))
    all_of_reference = np.ones((1, len(reference)))

    def figure(same: bool) -> Figure:
        fixed = float(theirs.mean(all_of_reference, same)[0])

        def distance(counts: Array) -> Array:
            mean_cross = (counts @ cross) / (counts @ ours.windows)
            result: Array = ours.mean(counts, same) + fixed - 2 * mean_cross
            return result

        return Figure(float(distance(once)[0]), distance(drawn))

    return Kid(figure(True), figure(False))


def fid(windows: Features, reference: Features) -> float | None:
    """As torchmetrics computes it; None if there are too few windows for a covariance."""
    dimensions = windows.shape[1]
    if min(len(windows), len(reference)) < FID_WINDOWS_PER_DIMENSION * dimensions:
        return None
    network = nn.Identity()
    network.num_features = dimensions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = FrechetInceptionDistance(feature=network)
    metric.update(torch.from_numpy(reference), real=True)
    metric.update(torch.from_numpy(windows), real=False)
    return float(metric.compute())


def giqa(windows: Features, reference: Features) -> Array:
    """GIQA's KNN score (arXiv 2003.08932) of each window; higher is more like the reference.

    The mean of 1 / squared distance to the K nearest windows of the reference.
    """
    if len(reference) < _NEIGHBOURS:
        raise ValueError(f"GIQA needs at least {_NEIGHBOURS} windows in the reference")
    squared = torch.cdist(torch.from_numpy(windows), torch.from_numpy(reference)).square()
    nearest = squared.topk(_NEIGHBOURS, largest=False).values.double().clamp_min(1e-12)
    scores: Array = (1 / nearest).mean(1).numpy()
    return scores


def _kernel(a: Sequence[Features], b: Sequence[Features]) -> Array:
    first, second = (torch.from_numpy(np.concatenate(one)).double() for one in (a, b))
    kernel: Array = poly_kernel(first, second).numpy()
    return kernel


def _owners(panoramas: Sequence[Features]) -> Array:
    """(P, N): 1 where a window is a panorama's."""
    sizes = [len(windows) for windows in panoramas]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    owners: Array = (owner[None] == np.arange(len(sizes))[:, None]).astype(np.float64)
    return owners
