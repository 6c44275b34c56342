"""`python -m bench.gpu`, rehearsed on a CPU, so that it runs at once where there is a card."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import gpu
from bench.gpu import Bench, Pair, Row, line_of, without_figures
from tests.core import tiny

PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    pipeline = tiny.pipeline(tmp_path)
    return Bench(5, pipeline, pipeline)


def test_the_page_has_every_row(bench: Bench) -> None:
    page = PAGE.read_text()
    section = page[page.index("<!-- peers on a GPU -->") : page.index("<!-- end of peers on a GPU")]
    assert [row.name for row in bench.rows() if f"| {row.name} |" not in section] == []


def test_a_row_that_fails_or_is_late_says_so() -> None:
    def run_out() -> Pair:
        raise RuntimeError("no memory")

    good = Row("a / b", "<= 1", lambda: Pair(1.0, 4.0, "s", "as set"))
    assert line_of(good, late=False) == ["a / b", "0.25", "<= 1", "1.00 s", "4.00 s", "as set"]
    assert line_of(good, late=True)[1] == "not measured: out of time"
    assert line_of(Row("a / b", "", run_out), late=False)[1:] == [
        "failed: RuntimeError",
        "",
        "",
        "",
        "no memory",
    ]


def test_a_rehearsal_gives_no_figures_and_names_what_failed() -> None:
    measured = ["a / b", "0.25", "<= 1", "1.00 s", "4.00 s", "as set"]
    assert without_figures(measured) == [
        *("a / b", "not measured: no card was at hand", "<= 1", "", "", "")
    ]
    failed = ["a / b", "failed: RuntimeError", "<= 1", "", "", "no memory"]
    assert without_figures(failed) == failed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_rehearsal_measures_every_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--tiny"])
    gpu.main()
    printed = capsys.readouterr().out
    assert "failed" not in printed
    assert "`view_batch_size=" in printed
    table = printed[printed.index("| ours / other |") :].splitlines()[2:]
    assert len(table) > 20
    assert all(" | not measured: no card was at hand | " in line for line in table)


def test_it_refuses_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="--tiny"):
        gpu.main()
