"""What bench.fleet and bench.ranks compute from what they measure."""

from __future__ import annotations

import pytest
import torch

from bench.fleet.load import claims_per_s, fairness, p99
from bench.fleet.workers import Claim
from bench.ranks import ShareOf


def claims(*tenants: str) -> list[Claim]:
    return [Claim(float(second), 0.001, tenant) for second, tenant in enumerate(tenants)]


def test_jains_index() -> None:
    assert fairness(claims("a", "b", "a", "b"), ["a", "b"]) == 1
    assert fairness(claims("a", "a", "a", "a"), ["a", "b"]) == 0.5
    assert fairness(claims("a", "a", "a", "b"), ["a", "b"]) == pytest.approx(0.8)


def test_claims_are_counted_while_all_work() -> None:
    steady = [Claim(second / 10, 0.0, "a") for second in range(100)]
    late = [Claim(100.0 + second, 0.0, "a") for second in range(5)]
    assert claims_per_s(steady + late) == pytest.approx(10)
    assert p99([float(number) for number in range(1, 1_001)]) == pytest.approx(990, abs=1)


def test_a_share_computes_what_a_rank_would_and_counts_what_it_would_receive() -> None:
    ranks = ShareOf(2)
    batches = [[0, 1], [2, 3], [4], [5]]
    assert ranks.mine(batches) == [[0, 1], [4]]
    windows = torch.arange(6.0).view(6, 1, 1, 1)
    ranks.share(batches, windows)
    assert windows.flatten().tolist() == [0, 1, 0, 1, 4, 4]
    assert (ranks.exchanges, ranks.bytes_received) == (1, 3 * 4)
