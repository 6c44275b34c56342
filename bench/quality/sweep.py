"""Coherence against the quality of windows, over the settings of `sync`.

    python -m bench.quality.sweep --work FOLDER [--weights ..] [--moves ..] [--shares ..]
        [--report docs/quality.md]

Each combination is a row on top of one preset, beside MultiDiffusion and the preset itself.
`--report` also draws the plot beside the page. Rows that `bench.quality` made in the same folder
are not made again.
"""

from __future__ import annotations

from itertools import product

from bench.quality.options import build_parser, run
from bench.quality.plots import draw_trade_off
from bench.quality.rows import BASELINE, ROWS, Changes
from bench.quality.tables import figures
from bench.sections import machine, publish, table
from panoweave.core.presets import DEFAULT_PRESET, PRESETS


def build_rows(
    preset: str, weights: list[float], moves: list[float], shares: list[float]
) -> dict[str, Changes]:
    """MultiDiffusion, the preset, and every combination; shares are of the preset's steps."""
    steps = PRESETS[preset]["steps"]  # type: ignore[index]
    rows: dict[str, Changes] = {BASELINE: ROWS[BASELINE], preset: ROWS[preset]}
    for weight, move, share in product(weights, moves, shares):
        sync = {"weight": weight, "max_move": move, "steps": round(share * steps)}
        rows[f"w {weight:g}, moves to {move:g}, {share:.0%}"] = {"preset": preset, "sync": sync}
    return rows


def main() -> None:
    options = build_parser(__doc__)
    options.add_argument("--preset", choices=list(PRESETS), default=DEFAULT_PRESET)
    options.add_argument("--weights", type=float, nargs="+", default=[28])
    options.add_argument("--moves", type=float, nargs="+", default=[0.0125, 0.025, 0.05])
    options.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.6, 0.9])
    asked = options.parse_args()
    for share in asked.shares:
        if not 0 < share <= 1:
            raise SystemExit(f"--shares: must be above 0 and at most 1, not {share:g}")
    results = run(asked, build_rows(asked.preset, asked.weights, asked.moves, asked.shares))
    text = (
        f"`python -m bench.quality.sweep` on {machine()}: `{asked.preset}` with other settings, "
        f"{len(results.pictures)} panoramas a row.\n\n{table(*figures(results.summaries))}"
    )
    publish("sweep", text, asked.report)
    if asked.report:
        draw_trade_off(asked.report.parent / "quality-sweep.png", results.summaries)


if __name__ == "__main__":
    main()
