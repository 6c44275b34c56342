"""The layers of ST-LPIPS (arXiv 2207.13686), which down-samples with anti-aliasing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BlurPool(nn.Module):
    """Anti-aliased down-sampling: pad by reflection, blur by [1 2 1] x [1 2 1] / 16, stride 2."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (row[:, None] * row).expand(channels, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(reflect(x), self.kernel, stride=2, groups=x.shape[1])


def reflect(x: Tensor) -> Tensor:
    """Pad (N, C, H, W) by reflection, by two on every side: (N, C, H + 4, W + 4)."""
    if not torch.are_deterministic_algorithms_enabled():
        return functional.pad(x, (2, 2, 2, 2), mode="reflect")
    # On a GPU the backward pass of `pad` has no deterministic algorithm.
    for dim in (-1, -2):
        end = x.shape[dim]
        mirrored = [x.narrow(dim, place, 1) for place in (2, 1, end - 2, end - 3)]
        x = torch.cat([*mirrored[:2], x, *mirrored[2:]], dim)
    return x


class BlurredConv(nn.Module):
    """`convolution` (stride 1) followed by `BlurPool`, as one convolution with stride 2.

    It computes a quarter of the outputs with a kernel that is wider by two: a third of the work.
    Where a convolved side is even, the last row or column has a kernel of its own, since the blur
    reflects there. The first ones are the same: [1 2 1] over the reflected (2, 1, 0) is [1 2 1]
    over (0, 1, 2).
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.blur = BlurPool(convolution.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), with sides of at least 14, to (N, C', (H - 5) // 2 + 1, ...)."""
        pad_y, pad_x = (int(side) for side in self.convolution.padding)
        x = functional.pad(x, (pad_x, pad_x, pad_y, pad_y))
        # One row of the blur. At the end of a side of even length, the row beyond the last is the
        # last but one. Neither is made of numbers here: a CUDA graph cannot record their copy.
        blur = self.blur.kernel[0, 0].sum(0)
        at_end = torch.stack([blur[0] + blur[2], blur[1]])
        inner = self._convolve(x, blur, blur)
        right, bottom, corner = inner[..., -1:], inner[..., -1:, :], inner[..., -1:, -1:]
        height, width = (int(side) for side in self.convolution.kernel_size)
        is_even_y, is_even_x = (x.shape[-2] - height) % 2, (x.shape[-1] - width) % 2
        last_y, last_x = x[..., -height - 1 :, :], x[..., -width - 1 :]
        if is_even_x:
            right = self._convolve(last_x, blur, at_end)
            corner = right[..., -1:, :]
        if is_even_y:
            bottom = self._convolve(last_y, at_end, blur)
            corner = bottom[..., -1:]
        if is_even_x and is_even_y:
            corner = self._convolve(last_y[..., -width - 1 :], at_end, at_end)
        middle = torch.cat([inner[..., :1], inner, right], dim=-1)
        last = torch.cat([bottom[..., :1], bottom, corner], dim=-1)
        return torch.cat([middle[..., :1, :], middle, last], dim=-2)

    def _convolve(self, x: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """With stride 2, the kernel blurred by `down` and `across`, both symmetric.

        Squares of 2 x 2 pixels become channels: on a CPU the gradient takes a third of the time
        that it takes with stride 2 over three channels.
        """
        weight = self.convolution.weight
        out, channels, height, width = weight.shape
        planes = weight.reshape(out * channels, 1, height, width)
        padding = len(down) - 1, len(across) - 1
        kernel = functional.conv2d(planes, torch.outer(down, across)[None, None], padding=padding)
        kernel = kernel.view(out, channels, *kernel.shape[-2:])
        return functional.conv2d(_to_channels(x), _to_channels(kernel), self.convolution.bias)


def _to_channels(x: Tensor) -> Tensor:
    """Squares of 2 x 2 pixels to channels, sides that are odd lengthened by a row of zeros."""
    height, width = x.shape[-2:]
    return functional.pixel_unshuffle(functional.pad(x, (0, width % 2, 0, height % 2)), 2)


def alex_stages() -> list[nn.Sequential]:
    """The five convolutions of AlexNet as in ST-LPIPS, without weights."""

    def pool(channels: int) -> list[nn.Module]:
        return [nn.MaxPool2d(3, stride=1), BlurPool(channels)]

    return [
        nn.Sequential(BlurredConv(nn.Conv2d(3, 64, 11, padding=2)), nn.ReLU()),
        nn.Sequential(*pool(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(*pool(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def vgg_stages() -> list[nn.Sequential]:
    """The thirteen convolutions of VGG16 in five stages as in ST-LPIPS, without weights."""
    stages: list[nn.Sequential] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers: list[nn.Module] = []
        if stages:
            layers += [nn.MaxPool2d(2, stride=1), BlurPool(channels)]
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return stages
