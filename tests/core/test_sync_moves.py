"""A preset keeps its promise with other numbers of steps than its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits, PublishedSyncDefaults
from panoweave.core.conditions import Extend, ImageInput
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, ResolvedSync, SyncParams
from panoweave.core.presets import PRESETS, PresetName
from panoweave.core.sync_moves import moves_at
from tests.core import tiny

TRAITS = CheckpointTraits(window_px=128, px_per_latent=8, tiny_decoder=True)
TUNED: tuple[PresetName, ...] = ("balanced", "fast")


def sync(traits: CheckpointTraits = TRAITS, **asked: Any) -> ResolvedSync:
    return PanoramaParams.model_validate({"prompt": "x", **asked}).resolve(traits).sync


def moves(steps: int, **asked: Any) -> list[int]:
    resolved = sync(steps=steps, **asked)
    return [moves_at(step, steps, resolved) for step in range(steps)]


@pytest.mark.parametrize("preset", TUNED)
def test_a_presets_own_steps_have_one_move_each(preset: PresetName) -> None:
    own = PRESETS[preset]["steps"]
    assert PRESETS[preset]["sync"]["tuned_steps"] == own
    last = 9 * own // 10
    assert moves(own, preset=preset) == [1] * last + [0] * (own - last)


@pytest.mark.parametrize("preset", TUNED)
@pytest.mark.parametrize("steps", [*range(10, 50), 60, 75, 99, 100, 250])
def test_the_moves_of_fewer_and_more_steps_keep_their_times(preset: PresetName, steps: int) -> None:
    """Before each step, those moves were made that the preset's own steps make before its time."""
    own = PRESETS[preset]["steps"]
    made = 0
    for step, count in enumerate(moves(steps, preset=preset)[: 9 * steps // 10]):
        made += count
        assert made == sum(k * steps < (step + 1) * own for k in range(own))


def test_moves_of_coarse_and_fine_schedules() -> None:
    assert moves(10, preset="fast") == [3] * 9 + [0]
    assert moves(20, preset="fast")[:6] == [2, 1, 2, 1, 2, 1]
    assert sum(moves(20)) == sum(moves(50)) == 45
    assert moves(100, preset="fast")[:8] == [1, 0, 0, 1, 0, 0, 1, 0]
    assert sum(moves(100, preset="fast")) == sum(moves(30, preset="fast")) == 27
    assert moves(100) == [1, 0] * 45 + [0] * 10
    assert moves(100, sync={"tuned_steps": 100}) == [1] * 90 + [0] * 10


def test_every_second_of_the_moves_where_steps_lie_between_them() -> None:
    """Of the steps, it would be each that has none."""
    assert moves(100, sync={"every": 2})[:8] == [0, 0, 1, 0, 0, 0, 1, 0]
    assert sum(moves(100, sync={"every": 2})) == sum(moves(50, sync={"every": 2})) == 22


def test_a_draft_of_fewer_than_ten_steps_has_one_move_in_each() -> None:
    assert moves(9, preset="balanced") == [1] * 9
    assert moves(1, preset="fast") == [1]
    assert moves(2, preset="fast", sync={"tuned_steps": 6}) == [3, 3]


def test_the_paper_has_one_move_in_each_step() -> None:
    assert moves(20, preset="paper") == [1] * 20
    assert moves(8, preset="paper", scheduler="lcm") == [1] * 8


@pytest.mark.parametrize("steps", [1, 2, 4, 6, 8, 24, 40])
@pytest.mark.parametrize("preset", TUNED)
@pytest.mark.parametrize("way", ["its own steps", "lcm"])
def test_checkpoints_made_for_a_few_steps_move_in_each(
    steps: int, preset: PresetName, way: str
) -> None:
    """As often in all with 4 steps as with 8; and once in each where there are more steps."""
    defaults = CheckpointDefaults(steps=4) if way == "its own steps" else CheckpointDefaults()
    distilled = TRAITS.model_copy(update={"defaults": defaults})
    asked: dict[str, Any] = {"preset": preset, "steps": steps}
    if way == "lcm":
        asked["scheduler"] = "lcm"
    resolved = sync(distilled, **asked)
    made = [moves_at(step, steps, resolved) for step in range(resolved.steps)]
    assert min(made) >= 1
    assert resolved.steps == math.ceil(0.9 * steps)
    if steps < 10:
        assert sum(made) == {"balanced": 32, "fast": 24}[preset]
        assert max(made) - min(made) <= 1
    as_before = sync(distilled, **asked, sync={"tuned_steps": steps})
    assert {moves_at(step, steps, as_before) for step in range(as_before.steps)} == {1}


def test_a_checkpoint_may_be_tuned_for_other_steps() -> None:
    """Half as many moves; drafts and few-step checkpoints are as without it."""
    own = {"balanced": PublishedSyncDefaults(weight=9, tuned_steps=25)}
    traits = TRAITS.model_copy(update={"sync": own})
    resolved = sync(traits, steps=50)
    assert (resolved.weight, resolved.tuned_steps) == (9, 25)
    made = {
        steps: [moves_at(step, steps, sync(traits, steps=steps)) for step in range(steps)]
        for steps in (5, 10, 25, 50)
    }
    assert made[50][:6] == [1, 0, 1, 0, 1, 0]
    assert made[25] == [1] * 23 + [0] * 2
    assert made[10][:4] == [3, 2, 3, 2]
    assert made[5] == [1] * 5
    assert sync(traits, steps=50, sync={"tuned_steps": 50}).tuned_steps == 50
    assert sync(traits, steps=8, scheduler="lcm").tuned_steps == 32
    assert sync(traits, steps=50, preset="fast").tuned_steps == 30


def test_a_job_that_was_accepted_before_has_one_move_in_each_step() -> None:
    stored = sync(steps=20, preset="fast").model_dump() | {"tuned_steps": None}
    earlier = ResolvedSync.model_validate(stored)
    assert [moves_at(step, 20, earlier) for step in range(20)] == [1] * 18 + [0, 0]


def test_what_a_request_gives_is_used_as_given() -> None:
    given = {"weight": 7.0, "max_move": 0.2, "steps": 3, "every": 2, "tuned_steps": 40}
    resolved = sync(steps=20, preset="fast", sync=given)
    assert {name: getattr(resolved, name) for name in given} == given
    assert [moves_at(step, 20, resolved) for step in range(20)] == [0, 2] + [0] * 18
    as_it_was = {"tuned_steps": 20}
    assert moves(20, preset="fast", sync=as_it_was) == [1] * 18 + [0, 0]


@contextmanager
def windows_seen(unet: Any) -> Iterator[list[int]]:
    """How many windows each call of the UNet has, with and without the prompt counted once."""
    seen: list[int] = []

    def count(_module: Any, inputs: tuple[torch.Tensor, ...], _output: Any) -> None:
        seen.append(len(inputs[0]) // 2)

    with unet.conv_out.register_forward_hook(count):
        yield seen


def test_a_step_makes_its_moves(tmp_path: Path, tiny_perceptual: Any) -> None:
    """Each moves every window once, but for the anchor: five windows, of which four move."""
    pipeline = tiny.pipeline(tmp_path)
    pipeline.perceptual = tiny_perceptual
    base: dict[str, Any] = {"prompt": "a lake", "width": 128, "seed": 5, "steps": 2}
    made = []
    for tuned_steps in (2, 4, 6):
        pull = SyncParams(max_move=0.01, weight=200, tuned_steps=tuned_steps, steps=1)
        with windows_seen(pipeline.unet) as seen:
            made.append(tiny.sample(pipeline, PanoramaParams(preset="paper", sync=pull, **base)))
        # The anchor once, each move, and the moved windows again; then a step without moves.
        assert sum(seen) == 1 + 4 * tuned_steps // 2 + 4 + 5
    once, twice, thrice = made
    assert (twice - once).abs().max() > 1e-4
    assert (thrice - twice).abs().max() > 1e-4


def test_an_extended_picture_guides_before_each_move(tmp_path: Path, tiny_perceptual: Any) -> None:
    """Of five windows, three show an edge of the picture. All five move, after it is predicted."""
    pipeline = tiny.pipeline(tmp_path)
    pipeline.perceptual = tiny_perceptual
    image = torch.zeros(1, 3, 64, 64)
    extend = Extend(image=ImageInput(key="default/uploads/x/picture"), x=0)
    for count in (1, 3):
        params = PanoramaParams(
            prompt="a lake",
            width=128,
            seed=5,
            steps=2,
            preset="paper",
            extend=extend,
            sync=SyncParams(max_move=0.01, tuned_steps=2 * count, steps=1),
        )
        with windows_seen(pipeline.unet) as seen:
            tiny.sample(pipeline, params, {"extend.image": image})
        with_moves, without = 1 + count * (3 + 5) + 5, 3 + 5
        assert sum(seen) == with_moves + without


@pytest.mark.slow
def test_fewer_steps_are_as_coherent(embedded: SyncDiffusionPipeline) -> None:
    """Within 10 % of the preset's own steps. With a third of its moves, 10 steps are 16 % worse."""

    def apart(steps: int, tuned_steps: int | None = None) -> float:
        params = PanoramaParams(
            prompt="a meadow",
            negative_prompt="clouds",
            seed=4,
            width=1_024,
            steps=steps,
            preset="fast",
            sync=SyncParams(tuned_steps=tuned_steps),
        )
        coherence = embedded(params).coherence
        assert coherence is not None
        return coherence.intra_lpips

    own = apart(PRESETS["fast"]["steps"])
    assert apart(10) <= 1.1 * own
    assert apart(20) <= 1.1 * own
    assert apart(10, tuned_steps=5) > 1.1 * own
