"""How good panoramas are: coherence, distance from real pictures, and whether the prompt is shown.

    python -m bench.quality --work FOLDER [--model ..] [--prompts ..] [--seeds N]
        [--presets NAME ..] [--options] [--report docs/quality.md] [--html FILE]

For MultiDiffusion, each preset and, with `--options`, each option, with intervals of 95 % by the
bootstrap over panoramas. A run that was stopped goes on where it was. docs/quality.md says what
each figure means, and how the paper's table is made.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from bench.quality.html import write_html
from bench.quality.measuring import Results
from bench.quality.options import build_parser, run
from bench.quality.plots import draw_trade_off
from bench.quality.prompts import BUILT_IN
from bench.quality.rows import BASELINE, OPTIONS, ROWS, Changes
from bench.quality.sheets import draw_sheet
from bench.quality.tables import differences, fid_note, figures, show
from bench.sections import machine, publish, require_section, table
from panoweave.core.presets import PresetName


def main() -> None:
    options = build_parser(__doc__)
    options.add_argument(
        "--presets",
        nargs="+",
        choices=get_args(PresetName),
        default=get_args(PresetName),
        help="beside MultiDiffusion (default: all; paper takes most of the time)",
    )
    options.add_argument("--options", action="store_true", help="each option alone, too")
    options.add_argument("--html", type=Path, help="a report with all pictures, one file")
    asked = options.parse_args()
    name = f"quality-{asked.prompts}" if asked.prompts in BUILT_IN else "quality"
    if asked.report:
        require_section(name, asked.report)  # before hours of work
    results = run(asked, rows_of(asked))
    about = describe(asked, results)
    publish(name, as_markdown(about, results), asked.report)
    if asked.report:
        beside = asked.report.parent
        draw_trade_off(beside / f"{name}.png", results.summaries)
        draw_sheet(results.pictures).save(beside / f"{name}-panoramas.jpg", quality=88)
    if asked.html:
        write_html(asked.html, about, results)


def rows_of(asked: argparse.Namespace) -> dict[str, Changes]:
    """MultiDiffusion, with which the others are compared, and what is asked for."""
    rows = {name: ROWS[name] for name in (BASELINE, *asked.presets)}
    return {**rows, **OPTIONS} if asked.options else rows


def describe(asked: argparse.Namespace, results: Results) -> list[str]:
    """What was measured and how, a sentence each."""
    prompts = {prompt for prompt, _ in results.pictures}
    made = [
        f"Model: {asked.model}, on {machine()}.",
        f"{len(prompts)} prompts ({asked.prompts}), seeds 1 to {asked.seeds}: "
        f"{len(results.pictures)} panoramas a row.",
        f"The reference is {results.reference} panoramas of {asked.reference}.",
    ]
    if results.examined:
        shares = ", ".join(
            f"{attribute} {show(figure, 0, 100)} %"
            for attribute, figure in results.examined.accuracy.items()
            if figure
        )
        made.append(f"Of what renders that it did not see show, the classifier reads: {shares}.")
        if precision := results.examined.precision:
            made.append(
                f"Of the biomes that it reads there, {show(precision, 0, 100)} % are there."
            )
    if note := fid_note(results.summaries):
        made.append(note)
    return made


def as_markdown(about: list[str], results: Results) -> str:
    return "\n\n".join(
        [
            "\n".join(about),
            table(*figures(results.summaries)),
            "Above MultiDiffusion, with the same prompts and seeds:",
            table(*differences(results.summaries)),
        ]
    )


if __name__ == "__main__":
    main()
