"""Load perceptual networks from files on this machine. Nothing is downloaded."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from panoweave.core.diffusion.errors import PerceptualWeightsError
from panoweave.core.diffusion.perceptual import GramStyle, Lpips, PerceptualLoss
from panoweave.core.diffusion.stlpips import alex_stages, vgg_stages
from panoweave.core.machine import PerceptualName


def load_perceptual(name: PerceptualName, trunk: Path | None = None) -> PerceptualLoss:
    """Load a perceptual network by name.

    `trunk`: a torchvision state-dict file for lpips-* and style-vgg; default: torchvision's cache.
    Raises PerceptualWeightsError, which says which file is missing and how to get it.
    """
    if name not in get_args(PerceptualName):
        legal = ", ".join(get_args(PerceptualName))
        raise PerceptualWeightsError(f"unknown perceptual network {name!r}; legal: {legal}")
    family, _, net = name.partition("-")
    if family == "stlpips":
        return _load_stlpips(name, net)
    if family == "lpips":
        return _load_lpips(name, net, trunk)
    return _load_style(name, trunk)


def load_stlpips_style() -> PerceptualLoss:
    """Gram style over the VGG16 of ST-LPIPS: a substitute for style-vgg that needs no download."""
    stages, _ = _read_stlpips("vgg")
    return GramStyle("style-stlpips-vgg", nn.Sequential(*(layer for s in stages for layer in s)))


def _read_stlpips(net: str) -> tuple[list[nn.Sequential], list[Tensor]]:
    """The stages of the trunk and the heads of ST-LPIPS (arXiv 2207.13686), from its package.

    The package is not imported: that needs IPython and torchsummary, which it does not declare.
    """
    member = f"stlpips_pytorch/weights/vST0.0/{net}_shift_tolerant.pth"
    try:
        path = Path(str(distribution("stlpips-pytorch").locate_file(member)))
    except PackageNotFoundError:
        raise PerceptualWeightsError(
            f"stlpips-{net}: its weights come in the package stlpips-pytorch, which is not "
            "installed; pip install stlpips-pytorch"
        ) from None
    state = _read_state(path, f"stlpips-{net}")
    stages = alex_stages() if net == "alex" else vgg_stages()
    convolutions = [m for stage in stages for m in stage.modules() if isinstance(m, nn.Conv2d)]
    stored = [key.removesuffix(".weight") for key in state if key.startswith("net.")]
    stored = [key for key in stored if f"{key}.bias" in state]
    for convolution, key in zip(convolutions, stored, strict=True):
        convolution.load_state_dict(
            {part: state[f"{key}.{part}"] for part in ("weight", "bias")}, strict=True
        )
    heads = [state[f"lin{level}.model.1.weight"].flatten() for level in range(len(stages))]
    return stages, heads


def _load_stlpips(name: str, net: str) -> PerceptualLoss:
    return Lpips(name, *_read_stlpips(net))


def trunk_url(name: str) -> str:
    """The URL where torchvision publishes the trunk of a perceptual network."""
    from torchvision import models

    weights = {
        "lpips-alex": models.AlexNet_Weights.IMAGENET1K_V1,
        "lpips-vgg": models.VGG16_Weights.IMAGENET1K_V1,
        "lpips-squeeze": models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
        "style-vgg": models.VGG19_Weights.IMAGENET1K_V1,
    }
    return str(weights[name].url)


def _read_trunk(name: str, trunk: Path | None) -> dict[str, Tensor]:
    url = trunk_url(name)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    state = _read_state(trunk or cached, name, hint=f"`panoweave prefetch`, or get {url}")
    return {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}


def _load_lpips(name: str, net: str, trunk: Path | None) -> PerceptualLoss:
    import lpips

    with warnings.catch_warnings():
        # lpips passes torchvision an argument that torchvision has renamed.
        warnings.simplefilter("ignore")
        model: Any = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = _read_trunk(name, trunk)
    stages = [getattr(model.net, f"slice{level + 1}") for level in range(model.L)]
    for stage in stages:
        for index, layer in stage.named_children():
            keys = {part: f"{index}.{part}" for part in layer.state_dict()}
            _load_layer(layer, state, keys, name)
    heads = [head.model[-1].weight.detach().flatten() for head in model.lins]
    return Lpips(name, stages, heads)


def _load_style(name: str, trunk: Path | None) -> PerceptualLoss:
    from torchvision.models import vgg19

    with torch.device("meta"):  # no numbers for the classifier, which has nine tenths of them
        features = vgg19(weights=None).features
    features.to_empty(device="cpu")
    state = _read_trunk(name, trunk)
    for index, layer in features.named_children():
        _load_layer(layer, state, {part: f"{index}.{part}" for part in layer.state_dict()}, name)
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # the Gram matrices read the outputs of the convolutions
    return GramStyle(name, features)


def _load_layer(
    layer: nn.Module, state: dict[str, Tensor], keys: dict[str, str], name: str
) -> None:
    try:
        layer.load_state_dict({part: state[key] for part, key in keys.items()})
    except (KeyError, RuntimeError) as error:
        raise PerceptualWeightsError(f"{name}: the trunk file does not fit: {error}") from error


def _read_state(path: Path, name: str, hint: str = "reinstall its package") -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PerceptualWeightsError(f"{name}: no weights at {path}; {hint}") from None
    except Exception as error:
        raise PerceptualWeightsError(f"{name}: cannot read {path}: {error}; {hint}") from error
    return state
