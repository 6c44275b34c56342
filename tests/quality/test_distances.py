"""Distances between sets of windows have known answers, and intervals cover."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from bench.quality.distances import FID_WINDOWS_PER_DIMENSION, fid, giqa, kid
from bench.quality.features import Features
from bench.quality.intervals import mean_of, ratio_of


def draw(
    seed: int, panoramas: int, *, windows: int = 6, shift: float = 0, agree: float = 0
) -> list[Features]:
    """Windows of normal features; `agree`: how much of each is its panorama's own."""
    rng = np.random.default_rng(seed)
    alone = rng.standard_normal((panoramas, windows, 8))
    shared = rng.standard_normal((panoramas, 1, 8))
    mixed = np.sqrt(1 - agree) * alone + np.sqrt(agree) * shared + shift
    return list(mixed.astype(np.float32))


def test_kid_of_all_pairs_is_torchmetrics_kid_of_one_subset_that_is_everything() -> None:
    ours, theirs = draw(1, 7), draw(2, 7, shift=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = KernelInceptionDistance(feature=nn.Identity(), subsets=1, subset_size=42)
    metric.update(torch.from_numpy(np.concatenate(theirs)), real=True)
    metric.update(torch.from_numpy(np.concatenate(ours)), real=False)
    expected, _ = metric.compute()
    assert kid(ours, theirs).all_pairs.value == pytest.approx(float(expected), rel=1e-4)


def test_kid_of_two_draws_of_one_distribution_is_about_0() -> None:
    same = kid(draw(1, 60), draw(2, 60))
    other = kid(draw(1, 60, shift=0.5), draw(2, 60))
    for figure in (same.all_pairs, same.between):
        assert figure.low < 0 < figure.high
    assert other.between.low > 0
    assert abs(same.between.value) < 0.05 * other.between.value


def test_windows_that_agree_are_a_distance_to_the_published_kid_alone() -> None:
    ours, reference = draw(1, 80, agree=0.9), draw(2, 80)
    found = kid(ours, reference)
    assert found.all_pairs.value > found.between.value + 0.03
    assert found.between.low < 0 < found.between.high


def test_kid_refuses_a_single_panorama() -> None:
    with pytest.raises(ValueError, match="two panoramas"):
        kid(draw(1, 1), draw(2, 5))


def test_fid_asks_for_many_windows() -> None:
    few = np.concatenate(draw(1, 2))
    assert fid(few, few) is None
    enough = FID_WINDOWS_PER_DIMENSION * 8
    windows = np.concatenate(draw(1, 200))[:enough]
    assert fid(windows, windows) == pytest.approx(0, abs=1e-3)
    moved = fid(windows + 1, windows)
    assert moved == pytest.approx(8, rel=1e-3)  # |mean difference|^2


def test_giqa_is_higher_for_windows_like_the_reference() -> None:
    reference = np.concatenate(draw(1, 20))
    near = giqa(np.concatenate(draw(2, 5)), reference)
    far = giqa(np.concatenate(draw(2, 5, shift=3)), reference)
    assert near.shape == (30,)
    assert near.mean() > 2 * far.mean()
    # One axis: neighbours at 1 .. 8.
    line = np.arange(1, 9, dtype=np.float32)[:, None]
    expected = np.mean([1 / d**2 for d in range(1, 9)])
    assert giqa(np.zeros((1, 1), np.float32), line)[0] == pytest.approx(expected)


def test_intervals_of_means_cover() -> None:
    covered = 0
    for seed in range(100):
        figure = mean_of(list(np.random.default_rng(seed).normal(3, 1, 30)))
        covered += figure.low <= 3 <= figure.high
    assert 88 <= covered <= 99  # 95 are expected; the percentile bootstrap of 30 is a little narrow


def test_a_difference_of_rows_shares_the_draws_of_panoramas() -> None:
    values = np.random.default_rng(0).normal(0, 5, 40)
    difference = mean_of(list(values + 0.1)).minus(mean_of(list(values)))
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)


def test_shares_are_weighed_by_windows() -> None:
    figure = ratio_of([6, 0], [6, 2])
    assert figure is not None
    assert figure.value == 0.75
    assert ratio_of([0], [0]) is None
