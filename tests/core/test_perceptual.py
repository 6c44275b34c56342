from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import models

from panoweave.core.diffusion.errors import PerceptualWeightsError
from panoweave.core.diffusion.perceptual import GramStyle, PerceptualLoss, distance
from panoweave.core.diffusion.perceptual_weights import (
    load_perceptual,
    load_stlpips_style,
    trunk_url,
)


def picture(phase: float, size: int) -> Tensor:
    """Waves (1, 3, size, size), the same on every machine."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    channels = [torch.sin(0.17 * x * (k + 1) + 0.05 * y * (3 - k) + phase + k) for k in range(3)]
    return torch.stack(channels)[None].float()


@pytest.mark.parametrize(
    ("net", "size", "other", "expected"),
    [
        # From the package stlpips-pytorch 0.0.2 itself:
        # LPIPS(net=..., variant="shift_tolerant")(picture(0, size), picture(other, size)).
        ("alex", 64, 0.5, 0.027675805613398552),
        ("alex", 64, 2.0, 0.21403858065605164),
        ("alex", 96, 2.0, 0.1963742971420288),
        ("vgg", 64, 0.5, 0.05990699678659439),
        ("vgg", 64, 2.0, 0.36398646235466003),
        ("vgg", 96, 2.0, 0.36412549018859863),
    ],
)
def test_stlpips_equals_the_package(net: str, size: int, other: float, expected: float) -> None:
    network = load_perceptual("stlpips-alex" if net == "alex" else "stlpips-vgg")
    measured = network(picture(0.0, size), picture(other, size))
    torch.testing.assert_close(measured, torch.tensor([expected]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "net"), [("lpips-alex", "alex"), ("lpips-vgg", "vgg"), ("lpips-squeeze", "squeeze")]
)
@pytest.mark.filterwarnings("ignore:The parameter 'pretrained':UserWarning")
@pytest.mark.filterwarnings("ignore:Arguments other than a weight enum:UserWarning")
def test_lpips_equals_the_package(tmp_path: Path, name: str, net: str) -> None:
    """On a random trunk, saved as torchvision saves its own: the real one is a download."""
    import lpips

    torch.manual_seed(1)
    package = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    trunk = {
        f"features.{key.split('.', 1)[1]}": value for key, value in package.net.state_dict().items()
    }
    torch.save(trunk, tmp_path / "trunk.pth")

    network = load_perceptual(name, tmp_path / "trunk.pth")  # type: ignore[arg-type]

    a, b = picture(0.0, 64), picture(2.0, 64)
    torch.testing.assert_close(network(a, b), package(a, b).flatten(), rtol=1e-3, atol=1e-6)


def test_style_is_the_gram_matrix_distance(tmp_path: Path) -> None:
    """Against the formula written out, on a random VGG19 trunk."""
    torch.manual_seed(1)
    features = models.vgg.make_layers(models.vgg.cfgs["E"])  # vgg19's; its classifier is not read
    trunk = torch.nn.Sequential(OrderedDict(features=features))
    torch.save(trunk.state_dict(), tmp_path / "vgg19.pth")
    network = load_perceptual("style-vgg", tmp_path / "vgg19.pth")
    a, b = picture(0.0, 32), picture(2.0, 32)

    expected = torch.zeros(())
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x, y = ((a + 1) / 2 - mean) / std, ((b + 1) / 2 - mean) / std
    for index in range(11):  # conv 1_1, 1_2, 2_1, 2_2 and 3_1 are layers 0, 2, 5, 7 and 10
        layer = features[index]
        if isinstance(layer, torch.nn.ReLU):
            layer = torch.nn.ReLU()
        x, y = layer(x), layer(y)
        if index in {0, 2, 5, 7, 10}:
            _, c, h, w = x.shape
            gram_x = torch.einsum("chw,dhw->cd", x[0], x[0]) / (c * h * w)
            gram_y = torch.einsum("chw,dhw->cd", y[0], y[0]) / (c * h * w)
            expected = expected + ((gram_x - gram_y) ** 2).mean()
    torch.testing.assert_close(network(a, b)[0], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("network", ["stlpips-alex", "stlpips-vgg", "style"])
@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_gradient_of_flat_pictures_is_finite(network: str, level: float) -> None:
    """Where activations are all zero, the published LPIPS has a NaN gradient."""
    loss: PerceptualLoss = (
        load_stlpips_style() if network == "style" else load_perceptual(network)  # type: ignore[arg-type]
    )
    flat = torch.full((2, 3, 64, 64), level, requires_grad=True)
    loss(flat, torch.zeros(1, 3, 64, 64)).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_zero_activations_have_a_finite_gradient() -> None:
    dead = load_perceptual("stlpips-alex")
    for parameter in dead.stages.parameters():  # type: ignore[union-attr]
        parameter.zero_()
    images = picture(0.0, 64).requires_grad_()
    dead(images, picture(2.0, 64)).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_one_target_serves_a_batch(perceptual: PerceptualLoss) -> None:
    batch = torch.cat([picture(0.0, 64), picture(1.0, 64)])
    target = perceptual.embed(picture(2.0, 64))
    together = distance(perceptual.embed(batch), target)
    alone = torch.cat([distance(perceptual.embed(image[None]), target) for image in batch])
    torch.testing.assert_close(together, alone)


def test_runs_in_float32_under_autocast(perceptual: PerceptualLoss) -> None:
    a, b = picture(0.0, 64), picture(2.0, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = perceptual(a, b)
    assert torch.equal(inside, perceptual(a, b))


def test_missing_trunk_says_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(PerceptualWeightsError, match=r"no weights at .*vgg16.*prefetch"):
        load_perceptual("lpips-vgg", tmp_path / "vgg16.pth")


def test_wrong_trunk_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = models.alexnet(weights=None)
    trunk = {
        f"features.{k}": torch.zeros(v.shape) for k, v in network.features.state_dict().items()
    }
    torch.save(trunk, tmp_path / "alexnet.pth")
    with pytest.raises(PerceptualWeightsError, match="does not fit"):
        load_perceptual("style-vgg", tmp_path / "alexnet.pth")


def test_unknown_name_is_refused() -> None:
    with pytest.raises(PerceptualWeightsError, match="stlpips-alex"):
        load_perceptual("lpips-resnet")  # type: ignore[arg-type]


def test_trunk_urls_name_files() -> None:
    for name in ("lpips-alex", "lpips-vgg", "lpips-squeeze", "style-vgg"):
        assert trunk_url(name).endswith(".pth")


def test_gram_style_reads_five_convolutions() -> None:
    style = load_stlpips_style()
    assert isinstance(style, GramStyle)
    assert len(style.embed(picture(0.0, 64))) == 5
