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
    Only the last row and the last column differ, since the blur reaches into the padding there;
    they are computed separately. The first ones are the same: [1 2 1] over the reflected (2, 1, 0)
    is [1 2 1] over (0, 1, 2).
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.blur = BlurPool(convolution.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), with sides of at least 14, to (N, C', (H - 5) // 2 + 1, ...)."""
        pad_y, pad_x = (int(side) for side in self.convolution.padding)
        x = functional.pad(x, (pad_x, pad_x, pad_y, pad_y))
        inner = functional.conv2d(x, self._blurred_kernel(), self.convolution.bias, stride=2)
        right = self._convolve_and_blur(x[..., self._tail(x.shape[-1]) :])[..., 1:-1, -1:]
        bottom = self._convolve_and_blur(x[..., self._tail(x.shape[-2]) :, :])[..., -1:, :]
        middle = torch.cat([inner[..., :1], inner, right], dim=-1)
        return torch.cat([middle[..., :1, :], middle, bottom], dim=-2)

    def _blurred_kernel(self) -> Tensor:
        out, channels, height, width = self.convolution.weight.shape
        planes = self.convolution.weight.reshape(out * channels, 1, height, width)
        blurred = functional.conv2d(planes, self.blur.kernel[:1], padding=2)
        return blurred.view(out, channels, height + 2, width + 2)

    def _tail(self, side: int) -> int:
        """Where the last few positions of a padded side begin.

        An even number, so that the stride stays in phase; with at least three convolved positions,
        since padding by reflection needs them.
        """
        convolved = side - self.convolution.kernel_size[0] + 1
        return convolved - convolved % 2 - 4

    def _convolve_and_blur(self, padded: Tensor) -> Tensor:
        weight, bias = self.convolution.weight, self.convolution.bias
        blurred: Tensor = self.blur(functional.conv2d(padded, weight, bias))
        return blurred


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
