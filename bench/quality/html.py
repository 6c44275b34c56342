"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.quality.measuring import Results
from bench.quality.plots import draw_trade_off
from bench.quality.runs import Stored
from bench.quality.tables import differences, figures
from panoweave.core.embedded.training.runs import replace_file

_JPEG_QUALITY: Final = 85


def write_html(file: Path, about: Sequence[str], results: Results) -> None:
    """Tables, the plot, and the panoramas of each prompt and seed side by side."""
    environment = Environment(
        loader=PackageLoader("bench.quality", "."), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("report.html.jinja").render(
        about=about,
        tables=[
            ("Figures", *figures(results.summaries)),
            ("Above MultiDiffusion", *differences(results.summaries)),
        ],
        plot=_plot(results),
        prompts=[
            (prompt, seed, [(name, _as_data(stored), _figures(stored)) for name, stored in made])
            for prompt, seed, made in (
                (prompt, seed, made.items()) for (prompt, seed), made in results.pictures.items()
            )
        ],
    )
    replace_file(file, lambda beside: beside.write_text(text))


def _figures(stored: Stored) -> str:
    measures = stored.read()
    return f"Intra-LPIPS {measures.intra_lpips:.3f}, borders {measures.border:.2f}"


def _as_data(stored: Stored) -> str:
    held = io.BytesIO()
    stored.open().save(held, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"


def _plot(results: Results) -> Markup:
    """As SVG, without what stands before its element."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plot.svg"
        draw_trade_off(file, results.summaries)
        text = file.read_text()
    return Markup(text[text.index("<svg") :])  # noqa: S704 - matplotlib escapes what it draws
