"""The figures of a row: of all its panoramas together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.quality.classifier import Examined, look_of, recall
from bench.quality.distances import Kid, fid, giqa, kid
from bench.quality.features import Features
from bench.quality.intervals import Figure, mean_of
from bench.quality.labels import Attribute, Labels
from bench.quality.runs import Measures

_DISTANCE_FEATURES = ("vgg", "inception")


@dataclass(frozen=True)
class Distances:
    """Of the features of one network."""

    kid: Kid
    giqa: Figure
    fid: float | None  # None: too few windows


@dataclass(frozen=True)
class Summary:
    """A row of the table."""

    intra_lpips: Figure
    intra_style: Figure
    border: Figure
    upper_halves: Figure  # apart, of 255
    distances: Mapping[str, Distances]  # by network
    seconds: float = 0.0  # median
    seam: Figure | None = None
    night: Figure | None = None  # mean luminance of panoramas asked for at night
    clip: Figure | None = None
    recall: Mapping[Attribute, Figure | None] = field(default_factory=dict)


def summarise(
    measured: Sequence[Measures],
    reference: Sequence[Measures],
    asked: Sequence[Labels] | None = None,
    examined: Examined | None = None,
) -> Summary:
    """`asked`: what each panorama's prompt names; `examined`: who reads the windows."""
    nights = [
        one.luminance
        for one, labels in zip(measured, asked or [], strict=False)
        if "night" in labels["time"]
    ]
    seams = [one.seam for one in measured if one.seam is not None]
    clips = [one.clip for one in measured if one.clip is not None]
    found: Mapping[Attribute, Figure | None] = {}
    if examined and asked:
        looks = look_of([one.features for one in measured])
        found = recall(examined.classifier, looks, asked)
    return Summary(
        intra_lpips=mean_of([one.intra_lpips for one in measured]),
        intra_style=mean_of([one.intra_style for one in measured]),
        border=mean_of([one.border for one in measured]),
        upper_halves=mean_of([one.upper_halves for one in measured]),
        distances={
            name: _distances([one.features[name] for one in measured], reference, name)
            for name in _DISTANCE_FEATURES
            if name in measured[0].features
        },
        seconds=statistics.median(one.took_s for one in measured),
        seam=mean_of(seams) if seams else None,
        night=mean_of(nights) if nights else None,
        clip=mean_of(clips) if clips else None,
        recall=found,
    )


def _distances(
    panoramas: Sequence[Features], reference: Sequence[Measures], name: str
) -> Distances:
    theirs = [one.features[name] for one in reference]
    together = np.concatenate(theirs)
    return Distances(
        kid(panoramas, theirs),
        mean_of([float(giqa(windows, together).mean()) for windows in panoramas]),
        fid(np.concatenate(panoramas), together),
    )
