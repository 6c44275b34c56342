"""Nothing in a step indexes with a list: the host would wait for a GPU to take it."""

from __future__ import annotations

from pathlib import Path

import torch

from panoweave.core.diffusion.guidance import BatchedModel
from panoweave.core.diffusion.known_region import KnownRegion
from panoweave.core.diffusion.regions import Region, RegionalPrompts
from panoweave.core.diffusion.schedulers import SCHEDULERS
from panoweave.core.diffusion.views import WindowPlan
from panoweave.core.params import PanoramaParams
from tests.core import tiny
from tests.core.operators import Operators

INDEXING = {"index", "index_put_", "_index_put_impl_"}


def test_regions_and_a_known_region_do_not_index_with_lists(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path)
    params = PanoramaParams(prompt="a lake", width=192, preset="paper", stride=32)
    grid = WindowPlan(params.resolve(pipeline.traits), pipeline.traits).grid(0)
    scheduler = SCHEDULERS["ddim"](pipeline.scheduler, 4, 0, torch.device("cpu"))
    step = scheduler.steps[0]
    noise, windows = torch.randn(1, 4, 8, 24), torch.randn(len(grid), 4, 8, 8)
    mask = torch.zeros(1, 1, 8, 24)
    mask[..., 3:12] = 1
    model = BatchedModel(lambda latents, _step, _views: 0.5 * latents, 2)
    regions = [Region(mask, model), Region(torch.zeros_like(mask), model)]
    regional = RegionalPrompts(model, regions, grid.canvas, noise[..., :8], noise, scheduler)
    known = KnownRegion(noise[..., :12], 0, 4, noise, scheduler)
    with Operators() as operators:
        blended = regional(windows, step, grid.views)
        guided = known.guide(windows, grid, step, model)
        assert not operators.seen & INDEXING
        windows[[0]] = windows[[1]]  # would have been noticed
    assert operators.seen >= {"index", "index_put_"}
    assert torch.isfinite(blended).all()
    assert (guided != windows).any()
