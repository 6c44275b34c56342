"""A ControlNet's hint: whose crop each window sees, and what the gradient goes through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.diffusion.checkpoints import load_controlnet, load_pipeline
from panoweave.core.diffusion.controlnet import ControlNet, canny_edges
from panoweave.core.diffusion.decode import from_pil
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.guidance import BatchedModel, ClassifierFreeGuidance
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.schedulers import SCHEDULERS, Step
from panoweave.core.diffusion.unet import UNet
from panoweave.core.diffusion.views import View, WindowPlan
from panoweave.core.image_reader import to_png
from panoweave.core.params import PanoramaParams
from tests.core import alone, tiny
from tests.embedded.held_out import held_out_parts

KEY = {"key": "given beside the request"}


@pytest.fixture
def pipeline(tmp_path: Path) -> SyncDiffusionPipeline:
    made = tiny.pipeline(tmp_path)
    made.use_controlnet(tiny.controlnet(made.unet))
    return tiny.in_float64(made)


def drawing(width: int) -> Tensor:
    """A picture (1, 3, 64, width) in [-1, 1] that is nowhere like elsewhere."""
    torch.manual_seed(4)
    return 2 * torch.rand(1, 3, 64, width, dtype=torch.float64).round() - 1


def asked(**control: Any) -> dict[str, Any]:
    return {"type": "hint", "image": KEY, **control}


def controlled(
    pipeline: SyncDiffusionPipeline, picture: Tensor, control: dict[str, Any], **params: Any
) -> Tensor:
    request = PanoramaParams.model_validate({"prompt": "a lake", "control": control})
    pictures = {"control.image": picture}
    return alone.latents(pipeline, pictures, control=request.control, **params)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_one_window_is_diffusers_own_picture(pipeline: SyncDiffusionPipeline, scale: float) -> None:
    hint = drawing(64)
    theirs = StableDiffusionControlNetPipeline(
        **pipeline.components,
        controlnet=pipeline.controlnet,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    expected = alone.diffusers_own(
        theirs,
        alone.noise(pipeline),
        image=(hint + 1) / 2,
        controlnet_conditioning_scale=scale,
    )
    ours = controlled(pipeline, hint, asked(scale=scale))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    assert (ours - alone.latents(pipeline)).abs().max() > 1e-2


def test_at_scale_0_nothing_is_controlled(pipeline: SyncDiffusionPipeline) -> None:
    none = controlled(pipeline, drawing(64), asked(scale=0))
    torch.testing.assert_close(none, alone.latents(pipeline), rtol=0, atol=1e-10)


@pytest.mark.parametrize("loop", [False, True])
def test_each_window_sees_its_own_crop(pipeline: SyncDiffusionPipeline, loop: bool) -> None:
    """As if it were alone with it; on a ring, over the edge."""
    hint = drawing(128)
    params = PanoramaParams(prompt="a lake", width=128, loop=loop, preset="paper", steps=4)
    resolved = params.resolve(pipeline.traits)
    grid = WindowPlan(resolved, pipeline.traits).grid(0)
    windows = grid.read(torch.randn(1, 4, 8, 16, dtype=torch.float64))
    step = first_step(pipeline)
    with torch.no_grad():
        together = BatchedModel(guided(pipeline, hint, loop), 3)(windows, step, grid.views)
        for index, (_, left) in enumerate(grid.views):
            crop = hint.roll(-8 * left, -1)[..., :64]
            alone_with_it = guided(pipeline, crop)
            expected = alone_with_it(windows[index : index + 1], step, [View(0, 0)])
            torch.testing.assert_close(together[index], expected[0], rtol=0, atol=1e-10)


def first_step(pipeline: SyncDiffusionPipeline) -> Step:
    return SCHEDULERS["ddim"](pipeline.scheduler, 4, 0, torch.device("cpu")).steps[0]


def guided(
    pipeline: SyncDiffusionPipeline,
    hint: Tensor,
    loop: bool = False,
    kind: type[ControlNet] = ControlNet,
) -> ClassifierFreeGuidance:
    unet = UNet(pipeline.unet, 3.0)
    network = kind(unet, pipeline.controlnet, (hint + 1) / 2, pipeline.traits, loop=loop, scale=1.0)
    with torch.no_grad():
        prompts = pipeline.encode_prompt("a lake", "")
    return ClassifierFreeGuidance(network, prompts, 3.0)


class WithoutGradient(ControlNet):
    """Of its ControlNet, but not of its UNet."""

    def residuals(self, latents: Tensor, *rest: Any) -> dict[str, Any]:
        return super().residuals(latents.detach(), *rest)


def test_the_gradient_goes_through_the_controlnet_too(pipeline: SyncDiffusionPipeline) -> None:
    """It equals the difference quotient, to which the ControlNet's share is not small."""
    model = guided(pipeline, drawing(64))
    step = first_step(pipeline)
    torch.manual_seed(6)
    window, direction, ask = torch.randn(3, 1, 4, 8, 8, dtype=torch.float64)

    def value(z: Tensor, model: ClassifierFreeGuidance = model) -> Tensor:
        return torch.sum(model(z, step, [View(0, 0)]) * ask)

    def gradient_of(model: ClassifierFreeGuidance) -> Tensor:
        z = window.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(z, model), z)
        assert isinstance(gradient, Tensor)
        return gradient

    gradient = gradient_of(model)
    with torch.no_grad():
        h = 1e-5
        quotient = (value(window + h * direction) - value(window - h * direction)) / (2 * h)
    along = (gradient * direction).sum()
    torch.testing.assert_close(along, quotient, rtol=1e-4, atol=1e-7)
    without = gradient_of(guided(pipeline, drawing(64), kind=WithoutGradient))
    assert (gradient - without).abs().max() > 1e-2 * gradient.abs().max()


def test_edges_lie_where_a_picture_changes() -> None:
    picture = -torch.ones(1, 3, 64, 96)
    picture[..., 20:40, 30:60] = 1
    edges = canny_edges(picture)
    assert edges.shape == (1, 3, 64, 96)
    assert torch.equal(edges, edges.round())
    rows, columns = edges[0, 0].nonzero(as_tuple=True)
    for places, first, last in ((rows, 20, 40), (columns, 30, 60)):
        assert int(places.min()) in (first - 1, first)
        assert int(places.max()) in (last - 1, last)
    assert edges[0, 0, 22:38, 32:58].sum() == 0


def test_edges_of_a_ring_do_not_stop_where_it_was_cut() -> None:
    picture = -torch.ones(1, 3, 64, 96)
    picture[..., 30:, :] = 1
    row = canny_edges(picture, loop=True)[0, 0, 28:32].amax(0)
    assert row.min() == 1
    assert canny_edges(picture)[0, 0, 28:32, 0].max() == 0


def test_edges_of_an_image_are_the_hint(pipeline: SyncDiffusionPipeline) -> None:
    picture = drawing(64)
    drawn = controlled(pipeline, picture, asked(type="canny"))
    ready = controlled(pipeline, 2 * canny_edges(picture) - 1, asked())
    torch.testing.assert_close(drawn, ready, rtol=0, atol=1e-10)


def test_a_synchronised_controlled_panorama(tmp_path: Path) -> None:
    """From a directory that brings its ControlNet along, and a picture in the request."""
    made = tiny.pipeline(tmp_path / "words")
    made.save_pretrained(tmp_path / "checkpoint")
    tiny.controlnet(made.unet).save_pretrained(tmp_path / "checkpoint" / "controlnet")
    loaded = load_pipeline(str(tmp_path / "checkpoint"), perceptual="stlpips-alex", device="cpu")

    def picture(control: dict[str, Any] | None, weight: float) -> bytes:
        request = {"prompt": "a lake", "width": 128, "steps": 3, "seed": 1}
        params = {**request, "sync": {"weight": weight}, "control": control}
        return loaded(PanoramaParams.model_validate(params)).image.tobytes()

    inline = inline_image(Image.linear_gradient("L").resize((128, 64)))
    control = {"type": "hint", "image": inline}
    pictures = [picture(control, 20), picture(control, 0), picture(None, 20), picture(None, 0)]
    assert len(set(pictures)) == 4


def inline_image(image: Image.Image) -> dict[str, Any]:
    return ImageInput.inline(to_png(image)).model_dump()


def test_a_hint_has_the_panoramas_size(pipeline: SyncDiffusionPipeline) -> None:
    control = {"type": "canny", "image": inline_image(Image.new("RGB", (64, 64)))}
    params = PanoramaParams.model_validate({"prompt": "a", "width": 128, "control": control})
    with pytest.raises(InvalidParams, match=r"control\.image: 64 x 64 px .* legal: 128 x 64 px"):
        pipeline(params)


def test_a_checkpoint_without_a_controlnet_refuses_control() -> None:
    params = PanoramaParams.model_validate({"prompt": "a", "control": asked()})
    with pytest.raises(InvalidParams, match=r"control: .* has no ControlNet"):
        params.resolve(CheckpointTraits(window_px=64, px_per_latent=8))


@pytest.mark.parametrize(
    "control",
    [
        {"image": KEY},
        {"type": "depth", "image": KEY},
        {"type": "canny"},
        {"type": "canny", "image": KEY, "scale": -0.1},
        {"type": "canny", "image": KEY, "scale": 2.1},
        {"type": "canny", "image": KEY, "strength": 1},
    ],
)
def test_bad_control_is_refused(control: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="control"):
        PanoramaParams.model_validate({"prompt": "a", "control": control})


def test_one_window_of_an_xl_checkpoint_is_diffusers_own_picture(tmp_path: Path) -> None:
    parts = tiny.components_xl(tmp_path)
    pipeline = SyncDiffusionPipeline(**parts)
    pipeline.use_controlnet(tiny.controlnet(pipeline.unet))
    tiny.in_float64(pipeline)
    hint = drawing(64)
    theirs = StableDiffusionXLControlNetPipeline(
        **parts, controlnet=pipeline.controlnet, add_watermarker=False
    )
    expected = alone.diffusers_own(theirs, alone.noise(pipeline), image=(hint + 1) / 2)
    torch.testing.assert_close(controlled(pipeline, hint, asked()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"global_pool_conditions": True}, "global_pool_conditions is True"),
        ({"conditioning_channels": 4}, "conditioning_channels is 4"),
        ({"conditioning_embedding_out_channels": (8, 8, 16)}, "scale of its hints is 4"),
    ],
)
def test_a_controlnet_that_would_be_followed_wrongly_is_refused(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    pipeline = tiny.pipeline(tmp_path)
    made = tiny.controlnet(pipeline.unet)
    config = {name: value for name, value in made.config.items() if name[0] != "_"}
    with pytest.raises(CheckpointError, match=named):
        pipeline.use_controlnet(type(made)(**{**config, **changes}))


def test_what_is_no_controlnet_is_refused(tmp_path: Path) -> None:
    tiny.unet().save_pretrained(tmp_path / "unet")
    with pytest.raises(CheckpointError, match="it is a UNet2DConditionModel; legal: a ControlNet"):
        load_controlnet(str(tmp_path / "unet"))


def test_another_checkpoints_controlnet_is_refused(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path)
    with pytest.raises(CheckpointError, match="its cross_attention_dim is 32, the UNet's 16"):
        pipeline.use_controlnet(tiny.controlnet(tiny.unet(cross_attention_dim=32)))


@pytest.mark.slow
def test_the_model_that_ships_follows_edges(embedded: SyncDiffusionPipeline) -> None:
    """The picture's edges are the hint's, far more than without control."""
    drawn = held_out_parts()[1]  # mountains behind an autumn forest
    control = {"type": "canny", "image": inline_image(drawn), "scale": 1.5}
    request = {"prompt": "a forest at dawn", "seed": 7, "width": drawn.width, "steps": 15}

    def edges(picture: Image.Image) -> Tensor:
        return canny_edges(from_pil(picture, torch.device("cpu"))[None])[:, :1]

    def agreement(asked: dict[str, Any]) -> float:
        """F1 of the edges found, within a pixel."""
        wanted, found = edges(drawn), edges(embedded(PanoramaParams.model_validate(asked)).image)
        recall, precision = _share(wanted, found), _share(found, wanted)
        return 2 * precision * recall / (precision + recall)

    assert agreement({**request, "control": control}) > 1.25 * agreement(request)


def _share(edges: Tensor, others: Tensor) -> float:
    """How many of these edges are among the others, or next to one."""
    return float((edges * max_pool2d(others, 3, 1, 1)).sum() / edges.sum())
