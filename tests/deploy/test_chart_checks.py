"""The checks of the chart find what they are there for."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.chart.policies import broken_rules
from tests.deploy.chart.render import Document, containers, pod_spec, rendered
from tests.deploy.chart.schemas import problems


def plant(change: Callable[[Document], object], kind: str = "Deployment") -> list[Document]:
    """The documents of a value file, of which the first of this kind is changed."""
    documents = [copy.deepcopy(each) for each in rendered("mixed-models")]
    change(next(each for each in documents if each["kind"] == kind))
    return documents


def spec(document: Document) -> Document:
    found = pod_spec(document)
    assert found is not None
    return found


def first(document: Document) -> Document:
    return containers(document)[0]


def confined(document: Document) -> Document:
    context: Document = first(document)["securityContext"]
    return context


def labels(document: Document) -> Document:
    found: Document = document["spec"]["template"]["metadata"]["labels"]
    return found


def backend(document: Document) -> Document:
    found: Document = document["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    return found


SECRET = {"name": "PANOWEAVE_REDIS_URL", "value": "redis://:x@y"}

FAULTS: dict[str, tuple[str, Callable[[Document], object]]] = {
    "may run as root": ("Deployment", lambda d: spec(d)["securityContext"].pop("runAsNonRoot")),
    "no seccomp": ("Deployment", lambda d: spec(d)["securityContext"].pop("seccompProfile")),
    "a token of": ("Deployment", lambda d: spec(d).pop("automountServiceAccountToken")),
    "has hostNetwork": ("Deployment", lambda d: spec(d).update(hostNetwork=True)),
    "is the node's": ("Deployment", lambda d: spec(d)["volumes"][0].update(hostPath={})),
    "gain privileges": ("Deployment", lambda d: confined(d).pop("allowPrivilegeEscalation")),
    "keeps capabilities": ("Deployment", lambda d: confined(d).pop("capabilities")),
    "its own files": ("Deployment", lambda d: confined(d).pop("readOnlyRootFilesystem")),
    "names no version": ("Deployment", lambda d: first(d).update(image="panoweave-api:latest")),
    "no limit of memory": ("Deployment", lambda d: first(d)["resources"].pop("limits")),
    "requests no cpu": ("Deployment", lambda d: first(d)["resources"].pop("requests")),
    "has no livenessProbe": ("Deployment", lambda d: first(d).pop("livenessProbe")),
    "asks port": ("Deployment", lambda d: first(d)["ports"][0].update(name="web")),
    "without limit": ("Deployment", lambda d: spec(d)["volumes"][0].update(emptyDir={})),
    "no volume": ("Deployment", lambda d: spec(d).pop("volumes")),
    "in its manifest": ("Deployment", lambda d: first(d)["env"].append(SECRET)),
    "no ServiceAccount": ("Deployment", lambda d: spec(d).update(serviceAccountName="x")),
    "its own pods": ("Deployment", lambda d: d["spec"]["selector"]["matchLabels"].update(app="x")),
    "no NetworkPolicy": ("Deployment", lambda d: labels(d).clear()),
    "selects no pods": ("Service", lambda d: d["spec"]["selector"].update(app="x")),
    "lacks a port": ("Service", lambda d: d["spec"]["ports"][0].update(targetPort="x")),
    "no Deployment": ("ScaledObject", lambda d: d["spec"]["scaleTargetRef"].update(name="x")),
    "port that there": ("ServiceMonitor", lambda d: d["spec"]["endpoints"][0].update(port="x")),
    "direction open": ("NetworkPolicy", lambda d: d["spec"].update(policyTypes=["Ingress"])),
    "no Service": ("Ingress", lambda d: backend(d)["service"].update(name="x")),
}


@pytest.mark.parametrize("text", FAULTS)
def test_the_rules_find_planted_faults(text: str) -> None:
    assert not broken_rules(rendered("mixed-models"))
    kind, change = FAULTS[text]
    assert any(text in found for found in broken_rules(plant(change, kind)))


MISSPELT: dict[str, Callable[[Document], object]] = {
    "Deployment": lambda d: spec(d).update(terminationGracePeriod=3),
    "NetworkPolicy": lambda d: d["spec"].update(egres=[]),
    "ScaledObject": lambda d: d["spec"].update(coolDown=3),
    "TriggerAuthentication": lambda d: d["spec"]["secretTargetRef"][0].update(param="x"),
    "ServiceMonitor": lambda d: d["spec"]["endpoints"][0].update(url="x"),
    "PodMonitor": lambda d: d["spec"].update(podMetricEndpoints=[]),
    "PrometheusRule": lambda d: d["spec"]["groups"][0].update(rule=[]),
}


@pytest.mark.parametrize("kind", MISSPELT)
def test_the_schemas_find_misspelt_fields(kind: str) -> None:
    [changed] = [each for each in plant(MISSPELT[kind], kind) if each["kind"] == kind][:1]
    assert problems(changed)


def test_the_vendored_schemas_name_their_source() -> None:
    folder = Path(__file__).parent / "chart/schemas"
    readme = (folder / "README.md").read_text()
    for path in folder.glob("*.json"):
        described = json.loads(path.read_text())
        assert described["license"] == "Apache-2.0"
        assert re.fullmatch("[0-9a-f]{40}", described["commit"])
        assert described["source"].split()[0] in readme
    assert "Apache License" in (folder / "LICENSE").read_text()
