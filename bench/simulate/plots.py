"""The plots of docs/scale.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from bench.simulate.fleet import Outcome

_SIZE: Final = (9.0, 6.5)  # inches
_DPI: Final = 90
_MARKERS: Final = "osD^vP*XhH<>"


def draw_days(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Workers, and jobs that wait, over a day."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    for axes, (name, outcome) in zip(
        figure.subplots(len(outcomes), 1, sharex=True), outcomes.items(), strict=True
    ):
        hours = [at / 3_600 for at, _, _ in outcome.workers]
        axes.fill_between(hours, [pods for _, pods, _ in outcome.workers], step="post", alpha=0.5)
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylabel("workers")
        waiting = axes.twinx()
        waiting.plot(hours, [jobs for _, _, jobs in outcome.workers], "C1", linewidth=0.7)
        waiting.set_ylabel("waiting", color="C1")
        for each in (axes, waiting):
            each.set_ylim(bottom=0)
    axes.set_xlabel("hour")
    axes.set_xlim(0, 24)
    figure.savefig(path, dpi=_DPI)


def draw_trade_off(path: Path, found: Mapping[str, Mapping[str, tuple[float, float]]]) -> None:
    """GPU hours and the longest waits, a point for each setting."""
    figure = Figure(figsize=(_SIZE[0], 5.0), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for number, (label, (gpu_h, wait_s)) in enumerate(points.items()):
            marker, colour = _MARKERS[number % len(_MARKERS)], f"C{number % 10}"
            axes.scatter(gpu_h, wait_s, color=colour, marker=marker, label=label, alpha=0.8)
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_xlabel("GPU hours a day")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    figure.axes[0].set_ylabel("wait, p99, s")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=_DPI)
