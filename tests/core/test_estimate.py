"""What a panorama is estimated to cost, against what it does cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import ImageInput
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.estimate import (
    SpeedMeter,
    Speeds,
    StepWork,
    estimate_work,
    gradient_kind,
    step_work,
)
from panoweave.core.image_reader import to_png
from panoweave.core.params import PanoramaParams, ResolvedParams
from panoweave.core.presets import Decoder
from tests.core import tiny

PICTURE = ImageInput.inline(to_png(Image.new("RGB", (64, 64)))).model_dump()
TRAITS = CheckpointTraits(window_px=128, px_per_latent=4, tiny_decoder=True)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> SyncDiffusionPipeline:
    made = tiny.pipeline(tmp_path_factory.mktemp("tiny"))
    made.perceptual = tiny.perceptual()
    return made


def resolved(**asked: Any) -> ResolvedParams:
    return PanoramaParams.model_validate({"prompt": "x", **asked}).resolve(TRAITS)


def estimated_and_done(pipeline: SyncDiffusionPipeline, asked: dict[str, Any]) -> tuple[float, int]:
    """Calls of the network for a window, and how many samples it was given."""
    params = PanoramaParams.model_validate({"prompt": "x", "steps": 5, "seed": 1, **asked})
    done: list[int] = []
    last = pipeline.unet.conv_out  # for each text; what is before may be shared
    hook = last.register_forward_hook(lambda _layer, _in, out: done.append(len(out)))
    pipeline(params)
    hook.remove()
    work = estimate_work(params.resolve(pipeline.traits), pipeline.traits)
    return work.predictions + work.gradients, sum(done)


@pytest.mark.parametrize(
    "asked",
    [
        {"preset": "paper", "width": 160},
        {"preset": "paper", "width": 160, "sync": {"steps": 2, "every": 2}},
        {"preset": "balanced", "width": 96, "sync": {"tuned_steps": 8}},
        {"preset": "balanced", "width": 128, "height": 128, "loop": True},
        {"preset": "paper", "width": 128, "loop": True, "sync": {"weight": 0}},
        {"preset": "balanced", "width": 96, "sync": {"reuse_prediction": False}},
        {"preset": "fast", "width": 64},
        {"preset": "paper", "width": 128, "anchor_image": PICTURE},
        {"preset": "balanced", "width": 128, "anchor_image": PICTURE},
        {"preset": "paper", "width": 128, "sync": {"decay": 1e-200}},
        {"preset": "balanced", "width": 64, "upscale": 2, "sync": {"reuse_prediction": False}},
        {"preset": "balanced", "width": 96, "steps": 9, "sync": {"tuned_steps": 12}},
        {"preset": "balanced", "width": 96, "steps": 10, "sync": {"tuned_steps": 12}},
    ],
)
def test_the_work_is_what_the_sampler_does(
    pipeline: SyncDiffusionPipeline, asked: dict[str, Any]
) -> None:
    """A call of the networks for each window: also where the anchor is one of the shifted ones."""
    estimated, samples = estimated_and_done(pipeline, asked)
    assert estimated == samples / 2  # under both prompts


def test_a_network_that_is_given_the_guidance_scale_is_called_once_for_a_window(
    tmp_path: Path,
) -> None:
    """As without guidance: half of what a prediction under two prompts takes."""
    parts = tiny.components(tmp_path) | {"unet": tiny.unet(time_cond_proj_dim=8)}
    made = SyncDiffusionPipeline(**parts)
    made.perceptual = tiny.perceptual()
    estimated, samples = estimated_and_done(made, {"preset": "balanced", "width": 96})
    assert estimated == samples / 2
    params = [
        PanoramaParams(prompt="x", guidance_scale=scale).resolve(made.traits) for scale in (1, 8)
    ]
    assert len({estimate_work(each, made.traits) for each in params}) == 1


@pytest.mark.parametrize(("steps", "tuned_steps"), [(9, 12), (249, 50)])
def test_one_more_step_can_take_less(steps: int, tuned_steps: int) -> None:
    """A whole number of steps is synchronised: all 9 of 9, and 9 of 10. The latter end earlier, and
    leave out the move that comes last. So does the sampler (above)."""
    before, after = (
        estimate_work(
            resolved(width=512, stride=32, steps=count, sync={"tuned_steps": tuned_steps}), TRAITS
        )
        for count in (steps, steps + 1)
    )
    assert before.gradients - after.gradients == 12  # a move of 13 windows, without the anchor
    speeds = Speeds(prediction_s=0.1, gradient_gaussian_tiny_s=0.3, finish_s=0.1)
    assert (speeds.predict(before) or 0) > (speeds.predict(after) or 0)


def test_regions_control_and_extend_cost_more() -> None:
    image = {"key": "default/uploads/x/picture"}
    plain = estimate_work(resolved(width=1024, preset="paper"), TRAITS)
    box = {"prompt": "y", "x": 0, "width": 128}
    for more in (
        {"regions": [box]},
        {"regions": [{"prompt": "y", "mask": image}]},
        {"extend": {"image": image}},
    ):
        work = estimate_work(resolved(width=1024, preset="paper", **more), TRAITS)
        assert plain.predictions < work.predictions < 8 * plain.predictions
    guided = [
        estimate_work(
            resolved(width=1024, steps=2, extend={"image": image}, sync={"tuned_steps": tuned}),
            TRAITS,
        ).predictions
        for tuned in (2, 6)
    ]
    assert 2 < guided[1] / guided[0] < 3  # the picture guides before each move
    with_control = TRAITS.model_copy(update={"controlnet": True})
    asked = {"width": 1024, "preset": "paper", "control": {"type": "hint", "image": image}}
    controlled = PanoramaParams.model_validate({"prompt": "x", **asked}).resolve(with_control)
    assert estimate_work(controlled, TRAITS).gradients > plain.gradients
    narrow, wide = (
        estimate_work(resolved(width=1024, regions=[{**box, "width": width}]), TRAITS).predictions
        for width in (64, 1024)
    )
    assert narrow < wide


def test_a_meter_finds_what_a_machine_takes() -> None:
    """From steps of both kinds, in any order: 0.02 s a prediction, 0.3 s a gradient."""
    truth = Speeds(prediction_s=0.02, gradient_full_s=0.3)
    params = resolved(width=512, preset="paper", sync={"steps": 10}, steps=20)
    meter = SpeedMeter()
    for step in range(20):
        work = step_work(step, params, TRAITS)
        meter.note_step(work, "full", 0.02 * work.predictions + 0.3 * work.gradients)
    assert meter.speeds.prediction_s == pytest.approx(0.02)
    assert meter.speeds.gradient_full_s == pytest.approx(0.3, rel=0.2)
    for _ in range(5):
        meter.note_step(StepWork(9, 9, 8), "full", 0.02 * 9 + 0.3 * 8)
    expected = truth.predict(estimate_work(params, TRAITS))
    measured = meter.speeds.predict(estimate_work(params, TRAITS))
    assert measured == pytest.approx(expected, rel=0.15)


def test_one_synchronised_step_is_enough_for_an_estimate() -> None:
    work = estimate_work(resolved(preset="fast"), TRAITS)
    assert Speeds().predict(work) is None
    meter = SpeedMeter()
    meter.note_step(StepWork(3, 1, 3), "gaussian_tiny", 1.0)
    estimate_s = meter.speeds.predict(work)
    assert estimate_s is not None
    assert work.gradients * 0.25 < estimate_s < work.gradients * 0.5


@pytest.mark.parametrize("decoder", get_args(Decoder))
def test_gradients_through_the_network_and_others_are_measured_apart(decoder: Decoder) -> None:
    """A worker makes both kinds, and one takes half as long again as the other."""
    through, gaussian = (
        resolved(preset="fast", sync={"gradient": gradient, "decoder": decoder})
        for gradient in ("conditional", "gaussian")
    )
    meter = SpeedMeter()
    for _ in range(2):
        for params, seconds in ((through, 0.3), (gaussian, 0.2)):
            kind = gradient_kind(params.sync)
            meter.note_step(StepWork(4, 0, 4), kind, 4 * seconds)
    measured = [meter.speeds.of_gradient(gradient_kind(p.sync), 0.1) for p in (through, gaussian)]
    assert measured == pytest.approx([0.3, 0.2])
    works = [estimate_work(params, TRAITS) for params in (through, gaussian)]
    assert works[0].gradients == works[1].gradients
    estimates = [meter.speeds.predict(work) or 0 for work in works]
    assert estimates[0] - estimates[1] == pytest.approx(0.1 * works[0].gradients)


def test_before_it_is_measured_a_gaussian_gradient_costs_less() -> None:
    """But more than its prediction, with the small decoder too."""
    speeds = Speeds(prediction_s=1.0)
    guided, tiny, full = (
        speeds.of_gradient(kind, 1.0) for kind in ("tiny", "gaussian_tiny", "gaussian_full")
    )
    assert 1 < tiny < guided
    assert tiny < full < speeds.of_gradient("full", 1.0)


def test_speeds_of_a_version_without_gaussian_gradients_are_read() -> None:
    earlier = Speeds.model_validate_json('{"prediction_s": 0.1, "gradient_tiny_s": 0.3}')
    params = resolved(preset="fast")
    estimate_s = earlier.predict(estimate_work(params, TRAITS))
    unmeasured = Speeds(prediction_s=0.1).predict(estimate_work(params, TRAITS))
    assert estimate_s == unmeasured


def test_a_first_measurement_stands_until_the_second() -> None:
    """It is slower than all that follow."""
    meter = SpeedMeter()
    measured = []
    for area, seconds in ((2, 6), (6, 6), (6, 12)):
        meter.note_finish(area, seconds)
        measured.append(meter.speeds.finish_s)
    assert measured == [3, 1, 1.5]


def test_a_wider_panorama_takes_more_in_proportion() -> None:
    narrow, wide = (
        estimate_work(resolved(preset="paper", width=width), TRAITS) for width in (512, 4096)
    )
    speeds = Speeds(prediction_s=0.1, gradient_full_s=0.6, finish_s=0.1)
    short, long = speeds.predict(narrow), speeds.predict(wide)
    assert short is not None
    assert long is not None
    assert 8 < long / short < 11
