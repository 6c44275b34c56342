from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from pydantic import ValidationError

from panoweave.core.checkpoint import (
    CheckpointDefaults,
    CheckpointTraits,
    InvalidParams,
    PublishedSyncDefaults,
)
from panoweave.core.conditions import MAX_PROMPT_CHARS
from panoweave.core.params import (
    PanoramaParams,
    ResolvedParams,
    SyncParams,
)
from panoweave.core.presets import PRESETS, SYNC_SHARES, PresetName

TRAITS = CheckpointTraits(window_px=512, px_per_latent=8)
SMALL = CheckpointTraits(window_px=128, px_per_latent=4, tiny_decoder=True)


def test_preset_paper_is_the_papers_setting() -> None:
    resolved = PanoramaParams(prompt="a lake", preset="paper").resolve(TRAITS)
    assert (resolved.width, resolved.height, resolved.stride) == (3072, 512, 128)
    assert (resolved.steps, resolved.guidance_scale) == (50, 7.5)
    assert (resolved.sync.weight, resolved.sync.decay) == (20, 0.95)
    assert (resolved.sync.steps, resolved.sync.every) == (50, 1)
    assert resolved.sync.anchor == 10  # the middle of 21
    assert (resolved.windows, resolved.sync.decoder) == ("overlapping", "full")
    assert not resolved.sync.reuse_prediction
    assert resolved.sync.max_move is None


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_asked_for_overrules_the_preset(preset: PresetName) -> None:
    row, share = PRESETS[preset], SYNC_SHARES[preset]
    reuse = row["sync"]["reuse_prediction"]
    sync = SyncParams(weight=1, steps=7, max_move=0.5, reuse_prediction=not reuse)
    asked = PanoramaParams(prompt="x", preset=preset, steps=20, windows="overlapping", sync=sync)
    resolved = asked.resolve(TRAITS)
    assert (resolved.sync.weight, resolved.sync.steps) == (1, 7)
    assert resolved.sync.max_move == 0.5
    assert resolved.sync.reuse_prediction is not reuse
    assert resolved.windows == "overlapping"
    assert resolved.sync.decay == row["sync"]["decay"]
    assert PanoramaParams(prompt="x", preset=preset).resolve(TRAITS).steps == row["steps"]
    untouched = PanoramaParams(prompt="x", preset=preset, steps=20).resolve(TRAITS)
    assert untouched.sync.steps == math.ceil(20 * share)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_request_of_its_own_fields(preset: PresetName) -> None:
    """Field by field: a request for the same values gets the same panorama."""
    spelled_out = {**PRESETS[preset], "preset": preset}
    asked = PanoramaParams.model_validate({"prompt": "x", "seed": 7, **spelled_out})
    assert asked.resolve(SMALL) == PanoramaParams(prompt="x", seed=7, preset=preset).resolve(SMALL)


def test_a_checkpoint_has_its_own_values_of_sync_for_a_preset() -> None:
    """They come before the preset's, and after the request's."""
    own = SMALL.model_copy(update={"sync": {"fast": PublishedSyncDefaults(weight=6)}})
    fast = PanoramaParams(prompt="x", preset="fast").resolve(own).sync
    assert (fast.weight, fast.max_move) == (6, PRESETS["fast"]["sync"]["max_move"])
    asked = PanoramaParams(prompt="x", preset="fast", sync=SyncParams(weight=0)).resolve(own)
    assert asked.sync.weight == 0
    balanced = PanoramaParams(prompt="x").resolve(own).sync
    assert balanced.weight == PRESETS["balanced"]["sync"]["weight"]


def test_values_of_sync_from_a_newer_worker_can_be_read() -> None:
    newer = {"balanced": {"weight": 4.0, "share": 0.6}, "slow": {"weight": 1.0}}
    published = {"window_px": 128, "px_per_latent": 4, "sync": newer}
    read = CheckpointTraits.model_validate_json(json.dumps(published))
    assert PanoramaParams(prompt="x").resolve(read).sync.weight == 4


def test_a_stride_asks_for_overlapping_windows() -> None:
    assert PanoramaParams(prompt="x", stride=64).resolve(TRAITS).windows == "overlapping"


def test_a_tiny_decoder_is_used_where_there_is_one_and_refused_where_not() -> None:
    asked = PanoramaParams(prompt="x", preset="fast")
    assert asked.resolve(TRAITS).sync.decoder == "full"
    assert asked.resolve(SMALL).sync.decoder == "tiny"
    demanding = PanoramaParams(prompt="x", sync=SyncParams(decoder="tiny"))
    assert demanding.resolve(SMALL).sync.decoder == "tiny"
    with pytest.raises(InvalidParams, match=r"sync.decoder.*legal: 'full'"):
        demanding.resolve(TRAITS)


def test_resolving_twice_changes_nothing() -> None:
    resolved = PanoramaParams(prompt="a lake").resolve(TRAITS)
    assert ResolvedParams.model_validate_json(resolved.model_dump_json()) == resolved
    assert resolved.resolve(TRAITS) == resolved


def test_seed_is_drawn_anew_each_time() -> None:
    drawn = {PanoramaParams(prompt="a lake").resolve(TRAITS).seed for _ in range(8)}
    assert len(drawn) == 8


def test_centre_of_a_grid_is_neither_first_row_nor_edge() -> None:
    asked = PanoramaParams(prompt="x", width=768, height=768, stride=128)  # 3 x 3 windows
    assert asked.resolve(TRAITS).sync.anchor == 4


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"width": 3000}, "width"),
        ({"width": 8}, "width"),
        ({"height": 513}, "height"),
        ({"stride": 12}, "stride"),
        ({"stride": 520}, "stride"),
        ({"sync": {"steps": 51}}, "sync.steps"),
        ({"sync": {"anchor": 21}}, "sync.anchor"),
        ({"width": 32768, "height": 4096}, "width"),
        ({"width": 32768, "stride": 8, "height": 1024}, "stride"),
    ],
)
def test_what_the_checkpoint_cannot_make_is_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParams) as refusal:
        PanoramaParams(prompt="x", **asked).resolve(TRAITS)
    assert refusal.value.field == field
    assert refusal.value.legal


@pytest.mark.parametrize("width", [513, 600, 639, 2000, 3071])
def test_the_nearest_sizes_named_are_legal_and_nearest(width: int) -> None:
    with pytest.raises(InvalidParams) as refusal:
        PanoramaParams(prompt="x", width=width).resolve(TRAITS)
    nearest = [int(n) for n in re.findall(r"\d+", refusal.value.legal.split("nearest:")[1])]
    for legal in nearest:
        assert PanoramaParams(prompt="x", width=legal).resolve(TRAITS).width == legal
    below, above = nearest
    assert below < width < above == below + 128


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": ""},
        {"prompt": "  \n"},
        {"prompt": "x" * (MAX_PROMPT_CHARS + 1)},
        {"prompt": "x", "steps": 0},
        {"prompt": "x", "guidance_scale": float("nan")},
        {"prompt": "x", "guidance_scale": float("inf")},
        {"prompt": "x", "seed": -1},
        {"prompt": "x", "seed": True},
        {"prompt": "x", "width": "512"},
        {"prompt": "x", "steps": 25.0},
        {"prompt": "x", "colour": "red"},
        {"prompt": "x", "sync": {"weight": -1}},
        {"prompt": "x", "sync": {"strength": 1}},
    ],
)
def test_bad_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PanoramaParams.model_validate(wrong)


def test_stored_params_of_an_earlier_version_can_be_read() -> None:
    """Jobs that waited while panoweave was upgraded mean what they meant."""
    resolved = PanoramaParams(prompt="a lake", preset="paper").resolve(TRAITS)
    stored = resolved.model_dump()
    for later in ("scheduler", "loop", "regions", "anchor_image", "extend"):
        del stored[later]
    del stored["sync"]["max_move"]
    assert ResolvedParams.model_validate(stored) == resolved


def test_an_earlier_job_is_made_as_it_was_accepted() -> None:
    """Before it is made it is resolved again, by a checkpoint that may have other defaults now."""
    own = {"balanced": PublishedSyncDefaults(weight=9, max_move=0.1, tuned_steps=25)}
    defaults = CheckpointDefaults(guidance_scale=2, perturbed_attention=True)
    traits = SMALL.model_copy(update={"sync": own, "defaults": defaults})
    stored = PanoramaParams(prompt="x", steps=20).resolve(SMALL).model_dump()
    del stored["perturbed_attention"], stored["sync"]["tuned_steps"], stored["sync"]["gradient"]
    stored["sync"]["max_move"] = None
    earlier = ResolvedParams.model_validate(stored)
    assert earlier.resolve(traits) == earlier
    assert earlier.model_dump() == stored


def test_stored_params_of_a_newer_version_can_be_read() -> None:
    resolved = PanoramaParams(prompt="a lake").resolve(TRAITS)
    stored = resolved.model_dump() | {"novelty": True}
    stored["sync"] = stored["sync"] | {"novelty": 1}
    assert ResolvedParams.model_validate(stored) == resolved


def test_params_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        SyncParams().weight = 1  # type: ignore[misc]
