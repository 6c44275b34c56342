"""Pictures: the same for the same scenes, alone or in a batch; no seam; sky above all land."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import (
    WEATHERS,
    Facts,
    Scene,
    render,
    window_attributes,
)
from tests.embedded.renderer.conftest import HEIGHT, WIDTH, scene, small


@pytest.mark.slow
def test_pictures_are_bytes_of_the_size_asked_for(noon: tuple[Tensor, list[Facts]]) -> None:
    pictures, facts = noon
    assert pictures.shape == (12, 3, HEIGHT, WIDTH)
    assert pictures.dtype == torch.uint8
    assert all(fact.columns.shape[1] == WIDTH for fact in facts)


def test_the_same_scene_gives_the_same_picture(noon_scenes: list[Scene]) -> None:
    again, _ = small([noon_scenes[6]])
    twice, _ = small([noon_scenes[6]])
    assert torch.equal(again, twice)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 2, 8])
def test_a_batch_of_mixed_biomes_equals_singles(
    noon: tuple[Tensor, list[Facts]], noon_scenes: list[Scene], index: int
) -> None:
    alone, facts = small([noon_scenes[index]])
    difference = (alone[0].int() - noon[0][index].int()).abs()
    # Sums of another order may round another way at an edge.
    assert float((difference > 2).float().mean()) < 0.002
    shares = facts[0].columns.astype(int) - noon[1][index].columns.astype(int)
    assert abs(shares).mean() < 0.5


@pytest.mark.slow
def test_the_seam_is_no_larger_than_other_steps(noon: tuple[Tensor, list[Facts]]) -> None:
    pictures = noon[0].float()
    steps = (pictures - pictures.roll(1, -1)).abs().mean((0, 1, 2))  # by column; 0 is the seam
    assert float(steps[0]) < 1.5 * float(steps[1:].mean())


@pytest.mark.slow
def test_every_window_has_sky_and_land(noon: tuple[Tensor, list[Facts]]) -> None:
    for facts in noon[1]:
        for x0 in range(0, WIDTH, 48):
            window = window_attributes(facts, x0, 48)
            assert 0.08 < window.sky < 0.85, (facts.biome, x0)


@pytest.mark.slow
def test_two_samples_to_a_pixel_look_like_one(noon_scenes: list[Scene]) -> None:
    fine = render([noon_scenes[3]], "cpu", WIDTH, HEIGHT, supersample=2).float()
    coarse = small([noon_scenes[3]])[0].float()
    assert float((fine - coarse).abs().mean()) < 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 100}, "width must be a multiple of 16"),
        ({"height": 8}, "height must be a multiple of 16"),
        ({"supersample": 0}, "supersample must be 1 to 4"),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render([scene("meadow", "noon", "clear")], "cpu", **arguments)


def test_no_scene_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one scene"):
        render([])


@pytest.mark.slow
def test_nights_can_be_seen_and_are_no_days() -> None:
    biomes = ("mountains", "forest", "coast", "autumn")
    nights = [
        scene(biome, "night", weather, i)
        for i, (biome, weather) in enumerate(zip(biomes, WEATHERS, strict=True))
    ]
    means = small(nights)[0].float().mean((1, 2, 3))
    assert float(means.min()) >= 40
    assert float(means.max()) < 110


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_draws_what_the_cpu_draws(
    noon: tuple[Tensor, list[Facts]], noon_scenes: list[Scene]
) -> None:
    pictures, _ = small(noon_scenes, "cuda")
    assert float((pictures.cpu().float() - noon[0].float()).abs().mean()) < 1.0
