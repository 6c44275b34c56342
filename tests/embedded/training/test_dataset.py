"""Windows of the data set: around the seam, mirrored, styled, and what is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from panoweave.core.embedded.training.dataset import STYLED, Cut, DataSet, draw_cuts
from panoweave.core.embedded.training.renderer import STYLES, apply_style
from panoweave.core.embedded.training.rendering import _claim
from panoweave.core.embedded.training.runs import step_generator
from panoweave.core.embedded.training.shards import count_shards, read_shard
from tests.embedded.training.pictures import COLUMNS, write_data


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    write_data(tmp_path, 3)
    found = DataSet(tmp_path, torch.device("cpu"))
    found.read(3)
    return found


def test_shards_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_data(tmp_path, 2)
    assert count_shards(tmp_path) == 2
    shard = read_shard(tmp_path, 1)
    assert shard.pictures.shape == (2, 3, 256, COLUMNS)
    assert [subject.facts.biome for subject in shard.subjects] == ["meadow", "forest"]
    assert shard.subjects[0].window(500, 100).shares["ground"] == pytest.approx(0.6, abs=0.01)
    (tmp_path / "00000").rename(tmp_path / "00005")
    assert count_shards(tmp_path) == 0


def test_a_window_crosses_the_seam(data: DataSet) -> None:
    (window,) = data.pictures([Cut(3, COLUMNS - 40, mirrored=False)], 100)
    picture = torch.from_numpy(np.array(read_shard(data.folder, 1).pictures[1]))
    torch.testing.assert_close(window[..., :40], picture[..., -40:])
    torch.testing.assert_close(window[..., 40:], picture[..., :60])
    (mirrored,) = data.pictures([Cut(3, COLUMNS - 40, mirrored=True)], 100)
    torch.testing.assert_close(mirrored, window.flip(-1))


@pytest.mark.parametrize("style", ["poster", "pixel art"])
def test_a_styled_window_is_part_of_a_styled_panorama(data: DataSet, style: str) -> None:
    (window,) = data.pictures([Cut(0, 64, mirrored=False, style=style)], 256)
    whole = apply_style(torch.from_numpy(np.array(read_shard(data.folder, 0).pictures[:1])), style)
    difference = (window.int() - whole[0, ..., 64:320].int()).abs().float()
    assert difference.mean() < 6  # grain lies elsewhere


def test_windows_drawn_together_are_those_drawn_alone(data: DataSet) -> None:
    cuts = draw_cuts(data.panoramas(0, 3), COLUMNS, 40, step_generator(1, 3))
    alone = torch.cat([data.pictures([cut], 128) for cut in cuts])
    torch.testing.assert_close(data.pictures(cuts, 128), alone, rtol=0, atol=0)


def test_processes_share_the_shards(tmp_path: Path) -> None:
    with _claim(tmp_path, 0) as first, _claim(tmp_path, 0) as second, _claim(tmp_path, 1) as other:
        assert (first, second, other) == (True, False, True)
    with _claim(tmp_path, 0) as again:
        assert again


def test_cuts_follow_from_the_step(data: DataSet) -> None:
    panoramas = data.panoramas(1, 3)
    assert list(panoramas) == [2, 3, 4, 5]
    cuts = draw_cuts(panoramas, COLUMNS, 400, step_generator(1, 7))
    assert cuts == draw_cuts(panoramas, COLUMNS, 400, step_generator(1, 7))
    assert {cut.panorama for cut in cuts} == set(panoramas)
    assert all(0 <= cut.left < COLUMNS for cut in cuts)
    assert 0.4 < sum(cut.mirrored for cut in cuts) / 400 < 0.6
    assert STYLED / 2 < sum(cut.style is not None for cut in cuts) / 400 < 2 * STYLED
    assert {cut.style for cut in cuts} == {None, *STYLES}
