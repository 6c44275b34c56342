"""Coherence against the quality of windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure as Drawing

from bench.quality.intervals import Figure
from bench.quality.rows import BASELINE
from bench.quality.summary import Summary
from bench.quality.tables import Summaries

REAL: Final = "held-out renders"
_DPI: Final = 90
_MARKERS: Final = "osD^vP*XhH<>"


def draw_trade_off(file: Path, summaries: Summaries) -> None:
    """A point for each row, with its intervals; the line to reach is the renders' own coherence.

    The file's ending says in which format.
    """
    recalls = any(mean_recall(row) for row in summaries.values())
    drawing = Drawing(figsize=(11.0, 5.5), layout="constrained")
    axes = drawing.subplots(1, 1 + recalls, squeeze=False)[0]
    made = {name: row for name, row in summaries.items() if row.seconds}
    for number, (name, row) in enumerate(made.items()):
        style = {"color": f"C{number % 10}", "marker": _MARKERS[number % len(_MARKERS)]}
        distance = row.distances["vgg"].kid.between
        _point(axes[0], row.intra_lpips, distance, 1e3, label=name, **style)
        share = mean_recall(row)
        if share is not None:
            axes[1].scatter(row.intra_lpips.value, 100 * share, **style)
    for each in axes:
        each.set_xlabel("Intra-LPIPS")
        if REAL in summaries:
            real = summaries[REAL].intra_lpips
            each.axvline(real.value, color="black", linewidth=1)
            each.axvspan(real.low, real.high, color="black", alpha=0.1)
    if BASELINE in summaries:
        base = summaries[BASELINE].distances["vgg"].kid.between.value
        axes[0].axhline(1e3 * base, color="grey", linestyle=":")
    axes[0].set_ylabel("KID x 1e3 (vgg), lower is better")
    if recalls:
        axes[1].set_ylim(0, 100)  # small differences are to look small
        axes[1].set_ylabel("windows as asked, %, mean of biome, time and weather")
    drawing.legend(loc="outside lower center", ncols=4, fontsize=8)
    drawing.savefig(file, dpi=_DPI)


def mean_recall(row: Summary) -> float | None:
    """Over the attributes that prompts name."""
    shares = [each.value for each in row.recall.values() if each]
    return sum(shares) / len(shares) if shares else None


def _point(axes: Any, x: Figure, y: Figure, scale: float, **style: Any) -> None:
    axes.errorbar(
        x.value,
        scale * y.value,
        xerr=[[max(0.0, x.value - x.low)], [max(0.0, x.high - x.value)]],
        yerr=[[scale * max(0.0, y.value - y.low)], [scale * max(0.0, y.high - y.value)]],
        capsize=2,
        **style,
    )
