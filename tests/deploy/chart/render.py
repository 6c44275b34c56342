"""The chart, rendered by Helm with each of the value files in deploy/helm/values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

HELM: Final = Path(__file__).parents[3] / "deploy" / "helm"
CHART: Final = HELM / "panoweave"
VALUES: Final = sorted((HELM / "values").glob("*.yaml"))
NAMES: Final = [path.stem for path in VALUES]
RELEASE: Final = "panoweave"
NAMESPACE: Final = "panoramas"

Document = dict[str, Any]


def values(name: str) -> Document:
    given: Document = yaml.safe_load((HELM / "values" / f"{name}.yaml").read_text())
    return given


@cache
def rendered(name: str) -> tuple[Document, ...]:
    """What an installation with these values would create. Not to be changed."""
    return render(values(name))


def of_kind(name: str, kind: str) -> list[Document]:
    return [each for each in rendered(name) if each["kind"] == kind]


def render(given: Document) -> tuple[Document, ...]:
    """Raises helm_python.HelmError: the values are not legal, or a template fails."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(given)
        files = chart.render(given, name=RELEASE, namespace=NAMESPACE)
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    return tuple(each for text in texts for each in yaml.safe_load_all(text) if each)


def notes(name: str) -> str:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values(name), name=RELEASE, namespace=NAMESPACE)
    return next(text for path, text in files.items() if path.endswith("NOTES.txt"))


def lint(name: str) -> list[str]:
    """What `helm lint --strict` finds."""
    report = helm_python.lint(CHART, values(name), strict=True, namespace=NAMESPACE)
    found = [f"{each['path']}: {each['error']}" for each in report["messages"] if _counts(each)]
    return [*found, *report["errors"]]


def _counts(message: Document) -> bool:
    return bool(message["severity"] >= 2 and "icon is recommended" not in str(message["error"]))


def pod_spec(document: Document) -> Document | None:
    """Of what starts pods."""
    template = document.get("spec", {}).get("template")
    spec: Document | None = template["spec"] if template else None
    return spec


def containers(document: Document) -> list[Document]:
    spec = pod_spec(document) or {}
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def title(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def of_defaults() -> Document:
    """What a worker has that says nothing."""
    with helm_python.Chart.load(CHART) as chart:
        defaults: Document = chart.values["workerDefaults"]
    return defaults
