"""Several processes make one panorama, over gloo, as several GPUs would over NCCL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.ranks import Ranks
from panoweave.core.diffusion.sampling import StepReport
from tests.core.rank_groups import BOUNDED, Group, asked, group_of, make_pipeline
from tests.core.resuming import picture

KEY = {"key": "given beside the request"}
slow = pytest.mark.slow
pytestmark = BOUNDED


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=slow)])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    with group_of(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> SyncDiffusionPipeline:
    return make_pipeline(tmp_path_factory.mktemp("alone"))


class SameBatches(Ranks):
    """One process that computes, one after the other, the batches of several."""

    def __init__(self, ranks: int) -> None:
        self._of = ranks

    def rounded_up(self, batches: int, most: int) -> int:
        return min(most, -(-batches // self._of) * self._of)


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({}, {}),
        pytest.param({"sync": {"weight": 0}}, {}, marks=slow),
        pytest.param({"preset": "fast"}, {}, marks=slow),
        pytest.param({"sync": {"gradient": "conditional"}}, {}, marks=slow),
        pytest.param({"sync": {"gradient": "gaussian", "decoder": "full"}}, {}, marks=slow),
        pytest.param({"preset": "paper", "sync": {"reuse_prediction": True}}, {}, marks=slow),
        pytest.param({"loop": True, "width": 192}, {}, marks=slow),
        pytest.param({"height": 96, "width": 96}, {}, marks=slow),
        pytest.param({"regions": [{"prompt": "b", "x": 16, "width": 48}]}, {}, marks=slow),
        pytest.param({"extend": {"image": KEY, "x": 16}}, {"extend.image": 64}, marks=slow),
        pytest.param({"scheduler": "dpm++"}, {}, marks=slow),
        pytest.param({"width": 64}, {}, marks=slow),  # one window
        ({"width": 1_600, "stride": 64, "steps": 1, "sync": {"weight": 0}}, {}),  # decoded in tiles
    ],
    ids=str,
)
def test_the_bits_are_those_of_one_device(
    group: Group, alone: SyncDiffusionPipeline, changes: dict[str, Any], images: dict[str, int]
) -> None:
    params = asked(**changes)
    pictures = {field: picture(width) for field, width in images.items()}
    reports: list[StepReport] = []
    together = group.make(params, images=pictures, on_step=reports.append)
    states: list[StepReport] = []
    alone.ranks = SameBatches(group.ranks.size)
    one = alone(params, images=pictures, on_step=states.append, window_batch=3)
    for shared, single in zip(reports, states, strict=True):
        assert torch.equal(shared.state.latents, single.state.latents)
    assert together.image.tobytes() == one.image.tobytes()


def test_it_goes_on_from_a_savepoint_of_one_device(
    group: Group, alone: SyncDiffusionPipeline
) -> None:
    states: list[StepReport] = []
    alone.ranks = SameBatches(group.ranks.size)
    one = alone(asked(), on_step=states.append, window_batch=3)
    resumed = group.make(asked(), resume=states[1].state)
    assert resumed.image.tobytes() == one.image.tobytes()


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("where", ["on_step", "on_batch"])
def test_a_stop_ends_it_on_all_ranks_and_the_next_one_is_made(group: Group, where: str) -> None:
    calls = 0

    def stop(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stopped

    with pytest.raises(Stopped):
        group.make(asked(), **{where: stop})
    assert group.make(asked(steps=2)).image.width == 224


def test_what_no_rank_can_make_ends_it_and_the_next_one_is_made(group: Group) -> None:
    with pytest.raises(InvalidParams):
        group.make(asked(width=100))
    assert group.make(asked(steps=2)).image.width == 224
