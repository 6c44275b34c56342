"""The table that `panoweave doctor` prints."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from panoweave.deploy.doctor.check import Check
from panoweave.deploy.doctor.checks import run_checks
from panoweave.deploy.environment import read_settings
from panoweave.deploy.local.data_dir import DataDir
from panoweave.deploy.serve.collector import uncollected
from panoweave.deploy.terminal import out, print_line

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def run_doctor(data: Path) -> int:
    home = DataDir(data)
    local = home.running()
    if local is not None:
        print_line(f"checking the stack that runs on {escape(str(home.root))} ({local.api_url})")
    settings = read_settings(home.read_env() if local is not None else None)
    with out.status("checking"), uncollected():
        checks = list(run_checks(settings))
    out.print(_table(checks))
    failures = [check for check in checks if check.level == "fail"]
    if not failures:
        out.print("[green]everything that a panorama needs is here[/]")
        return 0
    out.print(f"[bold red]{len(failures)} of {len(checks)} checks failed[/]")
    return 1


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False)
    # Folded: a name may hold a long path, and must leave room for the result.
    table.add_column("check", overflow="fold", max_width=32)
    table.add_column("")
    table.add_column("result, and what to do", overflow="fold")
    for check in checks:
        text = escape(check.found)
        if check.remedy:
            text += f"\n[bold]what to do:[/] {escape(check.remedy)}"
        table.add_row(escape(check.name), f"[{_STYLE[check.level]}]{check.level}[/]", text)
    return table
