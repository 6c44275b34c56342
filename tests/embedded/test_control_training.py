"""Training the ControlNet, tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel

from panoweave.core.diffusion.checkpoints import load_controlnet
from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.control import (
    ControlRecipe,
    Windows,
    build_controlnet,
    main,
    train_controlnet,
)
from panoweave.core.embedded.shards import render_shard
from panoweave.core.embedded.sheet import load_pipeline

TINY = ControlRecipe(steps=4, shards=1, scenes_per_shard=2, batch=2, hint_widths=(8, 8, 8, 8))


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load_pipeline(WEIGHTS)


def _windows() -> Windows:
    return Windows([render_shard(0, index, 2) for index in range(2)])


def test_windows_of_all_shards_are_numbered_on() -> None:
    windows = _windows()
    assert len(windows) == 12
    second = render_shard(0, 1, 2)
    picture, subject = windows[7]
    assert (picture == second.pictures[1]).all()
    assert (subject == second.subjects[1]).all()


@torch.no_grad()
def test_an_untrained_one_changes_nothing(pipeline: Any) -> None:
    controlnet = build_controlnet(pipeline.unet, TINY)
    down, middle = controlnet(
        torch.randn(1, 8, 16, 16),
        torch.tensor(500),
        torch.randn(1, 32, 128),
        torch.rand(1, 3, 128, 128),
        return_dict=False,
    )
    assert max(float(part.abs().max()) for part in [*down, middle]) == 0


def test_stop_and_resume_equals_one_run(pipeline: Any, tmp_path: Path) -> None:
    def trained(file: Path, stop_after: int | None = None) -> ControlNetModel:
        return train_controlnet(pipeline, _windows(), TINY, file, stop_after)

    whole = trained(tmp_path / "whole.pt")
    trained(tmp_path / "parts.pt", stop_after=2)
    resumed = trained(tmp_path / "parts.pt")
    for name, expected in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], expected, rtol=0, atol=0)
    assert bool(resumed.controlnet_mid_block.weight.any())


def test_the_command_writes_a_controlnet(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        main(["--work", str(tmp_path), "--out", str(tmp_path / "controlnet"), "--steps", "1"], TINY)
    finally:
        torch.set_num_threads(threads)
    assert load_controlnet(str(tmp_path / "controlnet")).config.cross_attention_dim == 128
