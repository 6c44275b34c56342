"""Rules for what the chart renders, beyond the schemas: security, limits, and that names meet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from tests.deploy.chart.render import Document, containers, pod_spec, title

_SECRET_NAMES: Final = re.compile("SECRET|PASSWORD|TOKEN|ACCESS_KEY|SIGNING|AUTH|REDIS_URL")
_PINNED: Final = re.compile(r"[\w./-]+(:\d[\w.-]*|@sha256:[0-9a-f]{64})")


def broken_rules(documents: Sequence[Document]) -> list[str]:
    found: list[str] = []
    for document in documents:
        for problem in (*_pods(document), *_meets(document, documents)):
            found.append(f"{title(document)}: {problem}")
    names = [title(document) for document in documents]
    found += [f"{name}: twice" for name in {name for name in names if names.count(name) > 1}]
    return found


def _pods(document: Document) -> Iterator[str]:
    spec = pod_spec(document)
    if spec is None:
        return
    yield from _restricted(spec)
    for volume in spec.get("volumes", []):
        if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
            yield f"volume {volume['name']} may grow without limit"
        if "hostPath" in volume:
            yield f"volume {volume['name']} is the node's"
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    volumes |= {each["metadata"]["name"] for each in _claims(document)}
    for container in containers(document):
        yield from _confined(container)
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"there is no volume {mount['name']}"
    for container in spec["containers"]:
        for probe in ("livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"{container['name']} has no {probe}"
        ports = {port["name"] for port in container["ports"]}
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            asked = container.get(probe, {}).get("httpGet", {}).get("port")
            if asked is not None and asked not in ports:
                yield f"{probe} asks port {asked}"


def _claims(document: Document) -> list[Document]:
    claims: list[Document] = document["spec"].get("volumeClaimTemplates", [])
    return claims


def _restricted(spec: Document) -> Iterator[str]:
    """Kubernetes' pod security standard "restricted", as far as it concerns a pod."""
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "gets a token of Kubernetes"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"has {name}"


def _confined(container: Document) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield f"{name} may gain privileges"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name} keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{name} writes to its own files"
    if not _PINNED.fullmatch(container["image"]):
        yield f"{name} has the image {container['image']}, which names no version"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield f"{name} requests no cpu or no memory"
    if "memory" not in resources.get("limits", {}):
        yield f"{name} has no limit of memory"
    for variable in container.get("env", []):
        value = str(variable.get("value", ""))
        if _SECRET_NAMES.search(variable["name"]) and value and "$(" not in value:
            yield f"{name} has the secret {variable['name']} in its manifest"


def _meets(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    """What one document says of others."""
    spec = document.get("spec", {})
    match document["kind"]:
        case "Deployment" | "StatefulSet":
            labels = spec["template"]["metadata"]["labels"]
            if not _selects(spec["selector"], labels):
                yield "does not select its own pods"
            policies = _of_kind(documents, "NetworkPolicy")
            if not any(_selects(each["spec"]["podSelector"], labels) for each in policies):
                yield "no NetworkPolicy is about its pods"
            account = spec["template"]["spec"].get("serviceAccountName")
            names = [each["metadata"]["name"] for each in _of_kind(documents, "ServiceAccount")]
            if account not in (None, *names):
                yield f"there is no ServiceAccount {account}"
        case "Service":
            yield from _needs_pods({"matchLabels": spec["selector"]}, documents)
            ports = {port["targetPort"] for port in spec["ports"]}
            for pods in _pods_of({"matchLabels": spec["selector"]}, documents):
                if ports - {port["name"] for each in containers(pods) for port in _ports(each)}:
                    yield f"{title(pods)} lacks a port of {ports}"
        case "PodDisruptionBudget":
            yield from _needs_pods(spec["selector"], documents)
        case "NetworkPolicy":
            yield from _needs_pods(spec["podSelector"], documents)
            if spec["policyTypes"] != ["Ingress", "Egress"]:
                yield "leaves a direction open"
        case "HorizontalPodAutoscaler" | "ScaledObject":
            name = spec["scaleTargetRef"]["name"]
            target = [each for each in documents if title(each) == f"Deployment {name}"]
            if not target:
                yield f"there is no Deployment {name}"
            elif "replicas" in target[0]["spec"]:
                yield f"Deployment {name} sets the replicas as well"
        case "ServiceMonitor":
            services = _of_kind(documents, "Service")
            found = [s for s in services if _selects(spec["selector"], s["metadata"]["labels"])]
            ports = {port["name"] for service in found for port in service["spec"]["ports"]}
            if {each["port"] for each in spec["endpoints"]} - ports:
                yield "asks a port that there is not"
        case "PodMonitor":
            yield from _needs_pods(spec["selector"], documents)
        case "Ingress":
            for rule in spec["rules"]:
                backend = rule["http"]["paths"][0]["backend"]["service"]
                if f"Service {backend['name']}" not in map(title, documents):
                    yield f"there is no Service {backend['name']}"


def _ports(container: Document) -> list[Document]:
    ports: list[Document] = container.get("ports", [])
    return ports


def _of_kind(documents: Sequence[Document], kind: str) -> list[Document]:
    return [each for each in documents if each["kind"] == kind]


def _selects(selector: Document, labels: Document) -> bool:
    wanted: Document = selector["matchLabels"]
    return bool(wanted) and wanted.items() <= labels.items()


def _pods_of(selector: Document, documents: Sequence[Document]) -> list[Document]:
    starters = [each for each in documents if pod_spec(each)]
    return [s for s in starters if _selects(selector, s["spec"]["template"]["metadata"]["labels"])]


def _needs_pods(selector: Document, documents: Sequence[Document]) -> Iterator[str]:
    if not _pods_of(selector, documents):
        yield "selects no pods"
