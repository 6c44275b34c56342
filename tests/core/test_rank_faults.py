"""Ranks that fail, run out of memory, or are killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panoweave.core.diffusion.errors import NonFiniteGradientError, RankFailedError
from panoweave.core.diffusion.rank_group import RankLost
from tests.core.rank_groups import BOUNDED, asked, group_of, make_pipeline

pytestmark = [pytest.mark.slow, BOUNDED]


def test_all_ranks_go_on_with_less_memory(tmp_path: Path) -> None:
    with group_of(2, fault="memory") as group:
        made = group.make(asked())
        resolved = asked().resolve(group.first.pipeline.traits)
        assert group.first.memory_use(resolved).window_batch == 1
        assert group.make(asked(steps=2)).image.width == 224
    one = make_pipeline(tmp_path)(asked(), window_batch=1)
    # The steps before had larger batches: on a CPU they may round differently.
    levels = [np.asarray(each.image).astype(int) for each in (made, one)]
    assert abs(levels[0] - levels[1]).max() <= 1


def test_a_rank_that_fails_fails_the_panorama_alone() -> None:
    with group_of(2, fault="nan") as group:
        with pytest.raises((RankFailedError, NonFiniteGradientError)):
            group.make(asked())
        with pytest.raises((RankFailedError, NonFiniteGradientError)):
            group.make(asked())


def test_a_rank_that_is_killed_is_noticed_at_once() -> None:
    group = group_of(3, fault="killed")
    with pytest.raises(RankLost), group as found:
        found.make(asked())
