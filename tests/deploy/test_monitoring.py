"""Alerts and dashboard ask for what the processes really show, labels too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import Status
from panoweave.worker.telemetry import metrics
from tests.deploy.files import DASHBOARD, RULES
from tests.jobs.samples import new_record
from tests.service.server import serving

ROOT = Path(__file__).parents[2]
PANELS: list[dict[str, Any]] = [p for p in DASHBOARD["panels"] if p["type"] != "row"]
ALERTS_PAGE = (ROOT / "docs/how-to/operate.md").read_text()
METRICS_PAGE = (ROOT / "docs/metrics.md").read_text()

# Only a worker with a GPU shows these: here by name alone.
GPU = {"panoweave_gpu_memory_used_bytes", "panoweave_gpu_memory_peak_bytes"}
OF_PROMETHEUS = {"up": {"job", "instance"}}
OF_EVERY_TARGET = {"job", "instance"}


def expressions() -> Iterator[str]:
    for rule in RULES:
        yield rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.fixture(scope="module")
def shown(settings: Settings) -> dict[str, set[str]]:
    """Each series that the three processes show, with its labels, once something has happened."""
    with connect(settings) as redis:
        redis.flushall()  # an API key of another test would lock this one out
    record = new_record()
    metrics.attempt_began(record)
    metrics.attempt_ended(record, Status.SUCCEEDED, 1.0)
    metrics.job_lost(Status.QUEUED)
    with serving(settings) as api:
        api.get("/livez")
        texts = [api.get("/metrics").text]
    texts += [generate_latest(registry).decode() for registry in (metrics.WORKER, metrics.JANITOR)]
    found: dict[str, set[str]] = {name: set() for name in GPU} | OF_PROMETHEUS
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_and_label_that_is_asked_for_is_shown(shown: dict[str, set[str]]) -> None:
    asked = 0
    for expression in expressions():
        bare = re.sub(r'"[^"]*"', '""', expression)
        names = re.findall(r"\b(?:panoweave_\w+|process_\w+|up\b)", bare)
        assert names, expression
        labels = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"\"", bare))
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare):
            labels |= set(re.split(r",\s*", group))
        known = set().union(*(shown.get(name, set()) for name in names)) | OF_EVERY_TARGET
        for name in names:
            assert name in shown, expression
        assert labels <= known, (expression, labels - known)
        asked += len(names)
    assert asked > 40


def test_legends_name_labels_that_remain() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            used = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            remain = {label for group in grouped for label in re.split(r",\s*", group)}
            assert used <= (remain or OF_EVERY_TARGET), target


def test_rules_say_what_is_wrong_and_the_documentation_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 8
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"Panoweave[A-Za-z]+", rule["alert"])
    assert re.findall(r"^\| `(Panoweave\w+)`", ALERTS_PAGE, re.M) == names


def test_budgets_are_watched_over_a_long_and_a_short_window() -> None:
    """A rate lasts as long as the summary says, and both windows ask for the same."""
    speeds = {"Fast": (["1h", "5m"], 14.4, "2 days"), "Slowly": (["6h", "30m"], 6.0, "5 days")}
    objectives = {"Api": 0.001, "Panorama": 0.01, "Wait": 0.05}
    found = {rule["alert"]: rule for rule in RULES if "Budget" in rule["alert"]}
    assert len(found) == len(speeds) * len(objectives)
    for objective, budget in objectives.items():
        for speed, (windows, factor, left) in speeds.items():
            rule = found[f"Panoweave{objective}BudgetBurns{speed}"]
            bounds = re.findall(r"> ([\d.]+) \* ([\d.]+)", rule["expr"])
            assert [tuple(map(float, bound)) for bound in bounds] == [(factor, budget)] * 2
            long, short = rule["expr"].split(") and (")
            for window, part in zip(windows, (long, short), strict=True):
                assert set(re.findall(r"\[(\w+)\]", part)) == {window}
            assert f"lasts {left} " in rule["annotations"]["summary"]
            assert round(30 / factor) == int(left.split()[0])


def test_the_bound_of_the_objective_of_waits_is_one_that_is_counted() -> None:
    shown = generate_latest(metrics.WORKER).decode()
    for bound in re.findall(r'le="([^"]+)"', "".join(rule["expr"] for rule in RULES)):
        assert f'panoweave_wait_seconds_bucket{{le="{bound}"}}' in shown


def test_the_scrape_configuration_reads_the_rules_and_all_processes() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    for file in config["rule_files"]:
        assert (ROOT / "deploy/prometheus" / file).exists()
    assert {job["job_name"] for job in config["scrape_configs"]} == {
        "panoweave-api",
        "panoweave-worker",
        "panoweave-janitor",
    }
    for job in config["scrape_configs"]:
        assert set(job) <= {"job_name", "static_configs", "authorization"}


def test_the_dashboard_can_be_laid_out() -> None:
    rows = [p["title"] for p in DASHBOARD["panels"] if p["type"] == "row"]
    assert {"Queue", "Runs", "Steps", "Webhooks", "HTTP"} <= set(rows)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_documentation_names_every_metric_and_no_other(shown: dict[str, set[str]]) -> None:
    written = set(re.findall(r"^\| `(panoweave_\w+)", METRICS_PAGE, re.M))
    parts = ("_bucket", "_sum", "_count", "_created")
    families = {
        name.removesuffix(next((part for part in parts if name.endswith(part)), ""))
        for name in shown
        if name.startswith("panoweave_")
    }
    # A counter's `_created` loses the `_total` of its name with it.
    families = {name for name in families if f"{name}_total" not in families}
    assert written == families


def test_gpu_memory_is_shown_by_the_names_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from panoweave.worker.telemetry.gpu_memory import GpuMemory

    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda _: 7)
    collected: list[Metric] = list(GpuMemory(torch.device("cuda")).collect())
    assert {metric.name for metric in collected} == GPU
    registry = CollectorRegistry()
    registry.register(GpuMemory(torch.device("cuda")))
    assert "panoweave_gpu_memory_used_bytes 7.0" in generate_latest(registry).decode()
