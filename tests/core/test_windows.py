from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.diffusion.views import Canvas, View, WindowGrid, WindowPlan
from panoweave.core.params import PanoramaParams, SyncParams

TRAITS = CheckpointTraits(window_px=128, px_per_latent=8)


@st.composite
def overlapping(draw: st.DrawFn) -> WindowGrid:
    window = draw(st.integers(1, 12))
    stride = draw(st.integers(1, window))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    height = window + (rows - 1) * stride
    if draw(st.booleans()):
        around = (-(-window // stride) + columns - 1) * stride
        return WindowGrid.overlapping(Canvas(height, around, ring=True), window, stride)
    width = window + (columns - 1) * stride
    return WindowGrid.overlapping(Canvas(height, width), window, stride)


@st.composite
def canvases(draw: st.DrawFn, window: int) -> Canvas:
    height, width = draw(st.integers(window, 40)), draw(st.integers(window, 60))
    return Canvas(height, width, ring=draw(st.booleans()))


@st.composite
def shifted(draw: st.DrawFn) -> WindowGrid:
    window = draw(st.integers(1, 12))
    down, right = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    return WindowGrid.shifted(draw(canvases(window)), window, down, right)


@st.composite
def crossfading(draw: st.DrawFn) -> WindowGrid:
    window = draw(st.integers(1, 12))
    return WindowGrid.crossfading(draw(canvases(window)), window)


grids = st.one_of(overlapping(), shifted(), crossfading())


@given(grids)
def test_every_latent_is_covered(grid: WindowGrid) -> None:
    canvas = grid.canvas
    covered = torch.zeros(canvas.height, canvas.width)
    for top, left in grid.views:
        assert 0 <= top <= canvas.height - grid.window
        assert 0 <= left <= canvas.width - (1 if canvas.ring else grid.window)
        columns = [column % canvas.width for column in range(left, left + grid.window)]
        covered[top : top + grid.window, columns] += 1
    assert covered.min() >= 1
    assert len(set(grid.views)) == len(grid)


@given(grids)
def test_merging_what_was_read_gives_it_back(grid: WindowGrid) -> None:
    latents = torch.randn(1, 3, grid.canvas.height, grid.canvas.width)
    windows = grid.read(latents)
    assert windows.shape == (len(grid), 3, grid.window, grid.window)
    torch.testing.assert_close(grid.merge(windows), latents, rtol=1e-5, atol=1e-5)


@given(shifted())
def test_shifted_windows_overlap_at_the_edges_only(grid: WindowGrid) -> None:
    """One window more a row than would fit exactly, at most. On a ring: in one place only."""
    fitting = -(-grid.canvas.width // grid.window)
    if grid.canvas.ring:
        around = [*grid.places.lefts, grid.places.lefts[0] + grid.canvas.width]
        assert len(grid.places.lefts) == fitting
        assert sum(right - left != grid.window for left, right in pairwise(around)) <= 1
        return
    assert len(grid.places.lefts) <= fitting + 1
    assert all(right - left == grid.window for left, right in pairwise(grid.places.lefts[1:-1]))


@pytest.mark.parametrize("width", [32, 40, 51, 64])
def test_crossfading_windows_leave_no_border(width: int) -> None:
    """Windows as unlike as can be pass into one another evenly, over half a window or more."""
    grid = WindowGrid.crossfading(Canvas(16, width), 16)
    unlike = torch.tensor([float(number % 2) for number in range(len(grid))])
    merged = grid.merge(unlike.view(-1, 1, 1, 1).expand(-1, 1, 16, 16))[0, 0, 0]
    assert merged.min() == 0
    assert merged.max() > 0.9
    assert merged.diff().abs().max() < 0.3
    averaged = replace(grid, places=replace(grid.places, fading=False)).merge(
        unlike.view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    )
    assert averaged.diff().abs().max() >= 0.5


@pytest.mark.parametrize("width", [32, 36])
def test_windows_on_a_ring_reach_over_the_edge_and_are_as_many_everywhere(width: int) -> None:
    grid = WindowGrid.overlapping(Canvas(16, width, ring=True), window=16, stride=4)
    assert len(grid) == width // 4
    ones = torch.ones(1, 1, 16, width)
    latents = torch.arange(width).float().expand(1, 1, 16, width)
    last = grid.read(latents)[-1, 0, 0].tolist()
    assert last == [*range(width - 4, width), *range(12)]
    assert torch.equal(grid.merge(grid.read(ones)), ones)


def test_merge_is_the_mean_over_windows() -> None:
    grid = WindowGrid.overlapping(Canvas(1, 3), window=1, stride=1)
    two = WindowGrid.overlapping(Canvas(2, 3), window=2, stride=1)
    assert grid.merge(torch.tensor([1.0, 2, 3]).view(3, 1, 1, 1)).tolist() == [[[[1, 2, 3]]]]
    windows = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    assert two.merge(windows)[0, 0].tolist() == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize(
    ("height", "width", "window", "stride"),
    [(8, 8, 8, 0), (8, 8, 8, 9), (8, 7, 8, 2), (8, 11, 8, 2), (11, 8, 8, 2)],
)
def test_a_grid_that_leaves_a_rest_cannot_be_made(
    height: int, width: int, window: int, stride: int
) -> None:
    with pytest.raises(ValueError, match=r"stride|width|height"):
        WindowGrid.overlapping(Canvas(height, width), window, stride)


@given(
    width=st.none() | st.integers(1, 2_000),
    height=st.none() | st.integers(1, 600),
    stride=st.none() | st.integers(1, 200),
    loop=st.booleans(),
)
def test_every_accepted_size_makes_a_grid(
    width: int | None, height: int | None, stride: int | None, loop: bool
) -> None:
    """What PanoramaParams accepts, the planner covers; what it refuses, it helps to put right."""
    asked = PanoramaParams(prompt="x", width=width, height=height, stride=stride, loop=loop)
    try:
        resolved = asked.resolve(TRAITS)
    except InvalidParams as error:
        refused = (error.field, bool(error.legal))
        assert refused in {("width", True), ("height", True), ("stride", True)}
        return
    for step in range(3):
        grid = WindowPlan(resolved, TRAITS).grid(step)
        assert grid.canvas.width * 8 == resolved.width
        assert grid.canvas.height * 8 == resolved.height


def test_no_border_between_shifted_windows_stays() -> None:
    """A border falls on every latent at least once, on none often; the last steps fade."""
    resolved = PanoramaParams(prompt="x", windows="shifted").resolve(TRAITS)
    plan = WindowPlan(resolved, TRAITS)
    inner = Counter(
        left for step in range(47) for left in plan.grid(step).places.lefts if 16 <= left <= 64
    )
    assert set(inner) == set(range(16, 65))
    assert max(inner.values()) <= 6
    for step in range(47, 50):
        assert plan.grid(step) == WindowGrid.crossfading(Canvas(16, 96), 16)


def test_the_anchor_stays_in_its_place() -> None:
    for windows in ("overlapping", "shifted"):
        asked = PanoramaParams(prompt="x", windows=windows, sync=SyncParams(anchor=3))
        plan = WindowPlan(asked.resolve(TRAITS), TRAITS)
        assert plan.anchor == View(0, 12)
        assert (plan.anchor in plan.grid(1).views) is (windows == "overlapping")
