from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.diffusion.windows import WindowGrid
from core.params import CheckpointTraits, InvalidParams, PanoramaParams

TRAITS = CheckpointTraits(window_px=128, px_per_latent=8)


@st.composite
def grids(draw: st.DrawFn) -> WindowGrid:
    window = draw(st.integers(1, 12))
    stride = draw(st.integers(1, window))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    return WindowGrid(window + (rows - 1) * stride, window + (columns - 1) * stride, window, stride)


@given(grids())
def test_every_latent_is_covered(grid: WindowGrid) -> None:
    covered = torch.zeros(grid.height, grid.width)
    for top, left in grid.corners():
        covered[top : top + grid.window, left : left + grid.window] += 1
    assert covered.min() >= 1
    assert len(list(grid.corners())) == len(grid)


@given(grids())
def test_merging_what_was_read_gives_it_back(grid: WindowGrid) -> None:
    latents = torch.randn(1, 3, grid.height, grid.width)
    windows = grid.read(latents)
    assert windows.shape == (len(grid), 3, grid.window, grid.window)
    torch.testing.assert_close(grid.merge(windows), latents)


def test_merge_is_the_mean_over_windows() -> None:
    grid = WindowGrid(height=1, width=3, window=1, stride=1)
    overlapping = WindowGrid(height=2, width=3, window=2, stride=1)
    assert grid.merge(torch.tensor([1.0, 2, 3]).view(3, 1, 1, 1)).tolist() == [[[[1, 2, 3]]]]
    windows = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    assert overlapping.merge(windows)[0, 0].tolist() == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize(
    ("height", "width", "window", "stride"),
    [(8, 8, 8, 0), (8, 8, 8, 9), (8, 7, 8, 2), (8, 11, 8, 2), (11, 8, 8, 2)],
)
def test_a_grid_that_leaves_a_rest_cannot_be_made(
    height: int, width: int, window: int, stride: int
) -> None:
    with pytest.raises(ValueError, match=r"stride|width|height"):
        WindowGrid(height, width, window, stride)


@given(
    width=st.none() | st.integers(1, 2_000),
    height=st.none() | st.integers(1, 600),
    stride=st.none() | st.integers(1, 200),
)
def test_every_accepted_size_makes_a_grid(
    width: int | None, height: int | None, stride: int | None
) -> None:
    """What PanoramaParams accepts, the planner covers; what it refuses, it helps to put right."""
    asked = PanoramaParams(prompt="x", width=width, height=height, stride=stride)
    try:
        resolved = asked.resolve(TRAITS)
    except InvalidParams as error:
        refused = (error.field, bool(error.legal))
        assert refused in {("width", True), ("height", True), ("stride", True)}
        return
    grid = WindowGrid.of(resolved, TRAITS)
    assert grid.width * 8 == resolved.width
    assert grid.height * 8 == resolved.height
    assert 0 <= resolved.sync.anchor < len(grid)
