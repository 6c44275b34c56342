"""Renders, panoramas and their figures, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from rich.progress import track

from bench.quality.classifier import Examined, look_of, train
from bench.quality.labels import labels_of
from bench.quality.plots import REAL
from bench.quality.prompts import read_prompts
from bench.quality.renders import HeldOut
from bench.quality.rows import Changes, ask
from bench.quality.runs import Measures, Runs, Stored
from bench.quality.summary import Summary, summarise
from bench.single_windows import ask_single_windows

T = TypeVar("T")

WINDOWS: Final = 6  # side by side in a panorama, as in the paper's

RECONSTRUCTIONS: Final = "autoencoder's reconstructions of them"
SINGLES: Final = "windows made alone"
_SINGLES_SEED: Final = 1_000_000  # so that no window alone begins with a panorama's noise


@dataclass(frozen=True)
class Reference:
    """What windows are compared with, and the rows that say how near one can come."""

    measured: Sequence[Measures]
    rows: Mapping[str, Summary]
    examined: Examined | None = None  # where there are renders to learn from


@dataclass(frozen=True)
class Results:
    """Everything that a report shows."""

    summaries: Mapping[str, Summary]
    examined: Examined | None
    # By prompt and seed: the panorama of each row.
    pictures: Mapping[tuple[str, int], Mapping[str, Stored]]
    reference: int  # panoramas


def measure(
    runs: Runs,
    rows: Mapping[str, Changes],
    prompts_asked: str,
    seeds: int,
    renders: HeldOut | None,
) -> Results:
    """Make and measure what is not there yet. `renders`: None compares with single windows."""
    prompts = read_prompts(prompts_asked)
    side = runs.pipeline.traits.window_px
    wanted = [
        (name, ask(changes, prompt, seed, side, WINDOWS))
        for seed in range(1, seeds + 1)
        for prompt in prompts
        for name, changes in rows.items()
    ]
    for _, params in wanted:
        params.resolve(runs.pipeline.traits)  # what cannot be made is refused before the first
    reference = _renders(runs, renders) if renders else _singles(runs, prompts, seeds, side)
    pictures: dict[tuple[str, int], dict[str, Stored]] = {}
    for name, params in shown(wanted, "panoramas"):
        assert params.seed is not None
        pictures.setdefault((params.prompt, params.seed), {})[name] = runs.panorama(params)
    asked = {prompt: labels_of(prompt) for prompt in prompts}
    labels = [asked[prompt] for prompt, _ in pictures]
    made = {
        name: summarise(
            [each[name].read() for each in pictures.values()],
            reference.measured,
            labels,
            reference.examined,
        )
        for name in rows
    }
    summaries = {**reference.rows, **made}
    return Results(summaries, reference.examined, pictures, len(reference.measured))


def _renders(runs: Runs, held_out: HeldOut) -> Reference:
    """Half of the renders is the reference; the other half is a row, and so are its windows after
    the model's autoencoder. The classifier learns from three quarters of both."""
    renders = held_out.make(lambda these: shown(these, "renders"))
    measured = [runs.picture(render.image).read() for render in shown(renders, "renders measured")]
    again = [
        runs.reconstruction(render.image).read()
        for render in shown(renders[1::2], "reconstructions")
    ]
    looks = look_of([one.features for one in measured])
    examined = train(looks, [render.labels for render in renders])
    reference, others = measured[::2], measured[1::2]
    scenes = [render.labels[0] for render in renders[1::2]]
    real = summarise(others, reference, scenes)
    return Reference(
        reference,
        {
            REAL: replace(real, recall=examined.accuracy),
            RECONSTRUCTIONS: summarise(again, reference, scenes, None),
        },
        examined,
    )


def _singles(runs: Runs, prompts: Sequence[str], seeds: int, side: int) -> Reference:
    """As many windows made alone as the panoramas of a row have; half of them are a row."""
    wanted = [
        ask_single_windows(side, prompt, _SINGLES_SEED + seed, 2 * WINDOWS)
        for seed in range(seeds)
        for prompt in prompts
    ]
    measured = [runs.panorama(params).read() for params in shown(wanted, SINGLES)]
    halves = [
        [_windows(one, half * WINDOWS, (half + 1) * WINDOWS) for one in measured] for half in (0, 1)
    ]
    return Reference(halves[0], {SINGLES: summarise(halves[1], halves[0])})


def _windows(measured: Measures, first: int, end: int) -> Measures:
    features = {name: each[first:end] for name, each in measured.features.items()}
    return replace(measured, features=features, took_s=0.0)


def shown(items: Iterable[T], text: str) -> Iterable[T]:
    """A progress bar on stderr."""
    return track(list(items), description=text)
