"""Windows of rendered panoramas, wherever they begin, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import STYLES, apply_style
from panoweave.core.embedded.training.shards import Shard, Subject, count_shards, read_shard

STYLED = 0.1  # share of windows
_STYLE_MARGIN = 16


@dataclass(frozen=True)
class Cut:
    """One window: which panorama, from which column on, whether it is mirrored, in which style."""

    panorama: int
    left: int
    mirrored: bool
    style: str | None = None  # None: as it was rendered


class DataSet:
    """All panoramas of the shards read so far, by number; it can grow while training runs."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder = folder
        self.device = device
        self.shards: list[Shard] = []
        self._tensors: list[Tensor] = []
        self._starts = [0]

    def read(self, shards: int) -> None:
        """Makes the first `shards` shards available."""
        for index in range(len(self.shards), shards):
            shard = read_shard(self.folder, index)
            self.shards.append(shard)
            self._tensors.append(torch.from_numpy(shard.pictures).to(self.device))
            self._starts.append(self._starts[-1] + len(shard.subjects))

    def on_cpu(self) -> DataSet:
        """The same shards in the host's memory."""
        return self if self.device.type == "cpu" else DataSet(self.folder, torch.device("cpu"))

    def available(self) -> int:
        """How many shards lie in the folder, read or not.

        Raises ValueError if the first is missing.
        """
        count = count_shards(self.folder)
        if not count:
            raise ValueError(f"{self.folder} must hold shard 0: let the stage 'data' render it")
        return count

    def panoramas(self, first: int, shards: int) -> range:
        """The numbers of the panoramas in shards `first` up to `shards`."""
        return range(self._starts[first], self._starts[shards])

    @property
    def columns(self) -> int:
        """How wide the panoramas are, in pixels."""
        return int(self._tensors[0].shape[-1])

    def subject(self, panorama: int) -> Subject:
        """What a panorama shows."""
        shard, row = self._place(panorama)
        return self.shards[shard].subjects[row]

    def pictures(self, cuts: Sequence[Cut], width: int) -> Tensor:
        """Windows (N, 3, H, width), bytes."""
        windows = torch.stack([self._columns(cut.panorama, cut.left, width) for cut in cuts])
        for style in STYLES:
            places = [i for i, cut in enumerate(cuts) if cut.style == style]
            if places:
                windows[places] = self._styled([cuts[i] for i in places], style, width)
        mirrored = torch.tensor([cut.mirrored for cut in cuts], device=self.device)
        return torch.where(mirrored.view(-1, 1, 1, 1), windows.flip(-1), windows)

    def _styled(self, cuts: Sequence[Cut], style: str, width: int) -> Tensor:
        """A style looks at neighbours, and wider windows have them."""
        lefts = [(cut.left - _STYLE_MARGIN) % self.columns for cut in cuts]
        wide = [
            self._columns(cut.panorama, left, width + 2 * _STYLE_MARGIN)
            for cut, left in zip(cuts, lefts, strict=True)
        ]
        return apply_style(torch.stack(wide), style)[..., _STYLE_MARGIN:-_STYLE_MARGIN]

    def _columns(self, panorama: int, left: int, width: int) -> Tensor:
        """So many columns (3, H, width), around the seam where they reach it."""
        shard, row = self._place(panorama)
        picture = self._tensors[shard][row]
        window = picture[..., left : left + width]
        around = left + width - picture.shape[-1]
        return torch.cat([window, picture[..., :around]], dim=-1) if around > 0 else window

    def _place(self, panorama: int) -> tuple[int, int]:
        low, high = 0, len(self._starts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle] <= panorama else (low, middle)
        return low, panorama - self._starts[low]


def draw_cuts(panoramas: range, columns: int, count: int, generator: torch.Generator) -> list[Cut]:
    """Windows anywhere, half of them mirrored, a few in a style."""
    numbers = torch.randint(panoramas.start, panoramas.stop, (count,), generator=generator).tolist()
    lefts = torch.randint(columns, (count,), generator=generator).tolist()
    mirrored = torch.randint(2, (count,), generator=generator).tolist()
    styled = torch.rand(count, generator=generator).tolist()
    styles = torch.randint(len(STYLES), (count,), generator=generator).tolist()
    names = list(STYLES)
    return [
        Cut(number, left, bool(flip), names[style] if draw < STYLED else None)
        for number, left, flip, draw, style in zip(
            numbers, lefts, mirrored, styled, styles, strict=True
        )
    ]
