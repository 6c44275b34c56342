"""The Helm chart, as far as it can be checked without a cluster.

`make lint` checks what it renders against Kubernetes' schemas and the rules in chart/policies.py.
Here: everything that it names exists, and the checks find what they are there for.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import helm_python
import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry
from redis import Redis
from typer.main import get_command

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from panoweave.deploy.cli import app
from panoweave.deploy.local.ports import free_port
from panoweave.service.app import create_app
from panoweave.service.http import server as http_server
from panoweave.worker import attempt, upload, webhook_http
from panoweave.worker.health import Health, serve_health
from tests.deploy.chart.policies import broken_rules
from tests.deploy.chart.render import (
    CHART,
    HELM,
    NAMES,
    Document,
    containers,
    notes,
    of_kind,
    pod_spec,
    render,
    rendered,
    title,
    values,
)
from tests.deploy.files import COMPOSE, DASHBOARD, DOCKERFILE, RULES, SERVICES
from tests.service.server import serving

ROOT = HELM.parents[1]
PROCESSES = {"api", "worker", "janitor"}


def our_containers() -> Iterator[tuple[str, Document, Document]]:
    """The value file, the container, and what starts it, of all processes of ours."""
    for name in NAMES:
        for document in of_kind(name, "Deployment"):
            for container in containers(document):
                yield name, container, document


def pod(document: Document) -> Document:
    found = pod_spec(document)
    assert found is not None
    return found


def variables(container: Document) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_there_are_the_five_value_files_and_the_three_processes() -> None:
    assert NAMES == ["cpu-demo", "locked-down", "mixed-models", "multi-gpu", "one-gpu"]
    for name in NAMES:
        assert {c["name"] for n, c, _ in our_containers() if n == name} == PROCESSES


def test_without_values_it_is_a_whole_deployment() -> None:
    """As on kind: CPU workers with the bundled model, and both servers."""
    documents = render({})
    assert {title(each) for each in documents if pod_spec(each)} == {
        "Deployment panoweave-api",
        "Deployment panoweave-janitor",
        "Deployment panoweave-worker-embedded",
        "StatefulSet panoweave-redis",
        "StatefulSet panoweave-s3",
    }
    assert not broken_rules(documents)


def test_every_command_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for _, container, _ in our_containers():
        program, command, *options = container["command"]
        assert (program, command) == ("panoweave", container["name"])
        known = {option for each in commands[command].params for option in each.opts}
        assert set(options[::2]) <= known
    for words in re.findall(r"panoweave ((?:\w+ )+)--tenant", notes("mixed-models")):
        group, command = words.split()
        assert command in commands[group].commands


def test_the_images_are_those_of_the_dockerfile() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    assert chart["version"] == chart["appVersion"] == version[1]
    for _, container, document in our_containers():
        stage = "worker" if container["name"] == "worker" else "api"
        assert f"AS {stage}\n" in DOCKERFILE
        assert f"panoweave-{stage}" in container["image"]
        assert pod(document)["securityContext"]["runAsUser"] == 10001
    assert "--uid 10001" in DOCKERFILE


def test_every_setting_exists_and_is_legal(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.touch()
    for name, container, _ in our_containers():
        given = variables(container)
        ours = {k.removeprefix("PANOWEAVE_"): v for k, v in given.items() if k.startswith("PANO")}
        fields: dict[str, object] = {each.lower(): value for each, value in ours.items() if value}
        assert fields.keys() <= Settings.model_fields.keys(), name
        if "redis_ca" in fields:
            files = ("redis_ca", "redis_certificate", "redis_private_key")
            fields |= {"redis_url": "rediss://main/0", **dict.fromkeys(files, certificate)}
        Settings.model_validate(fields)
        assert len(given) == len(container["env"])  # none is there twice


def test_a_worker_of_several_gpus_has_as_many_as_it_asks_for() -> None:
    [(container, document)] = [(c, d) for _, c, d in our_containers() if "--gpus" in c["command"]]
    gpus = container["command"][-1]
    for amounts in ("requests", "limits"):
        assert str(container["resources"][amounts]["nvidia.com/gpu"]) == gpus
    [volume] = [v for v in pod(document)["volumes"] if v["name"] == "shared-memory"]
    assert volume["emptyDir"]["medium"] == "Memory"


def test_the_redis_certificates_are_where_the_settings_say() -> None:
    for container in [each for name, each, _ in our_containers() if name == "locked-down"]:
        [mount] = [m for m in container["volumeMounts"] if m["name"] == "redis-certificates"]
        files = variables(container)
        for name in ("CA", "CERTIFICATE", "PRIVATE_KEY"):
            assert files[f"PANOWEAVE_REDIS_{name}"].startswith(f"{mount['mountPath']}/")
        assert len(files["PANOWEAVE_REDIS_SENTINELS"].split(",")) == 3


def test_ports_are_those_that_the_processes_listen_on() -> None:
    for _, container, _ in our_containers():
        given = variables(container)
        [port] = container["ports"]
        if container["name"] == "api":
            assert (given["PANOWEAVE_HOST"], port["name"]) == ("0.0.0.0", "http")
            assert given["PANOWEAVE_PORT"] == str(port["containerPort"])
        else:
            assert (given["PANOWEAVE_METRICS_HOST"], port["name"]) == ("0.0.0.0", "metrics")
            assert given["PANOWEAVE_METRICS_PORT"] == str(port["containerPort"])


def test_every_path_that_is_asked_for_exists() -> None:
    asked: dict[str, set[str]] = {"http": set(), "metrics": set()}
    for name, container, _ in our_containers():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if request := container.get(probe, {}).get("httpGet"):
                asked[request["port"]].add(request["path"])
        for monitor in (*of_kind(name, "ServiceMonitor"), *of_kind(name, "PodMonitor")):
            for point in monitor["spec"].get(
                "endpoints", monitor["spec"].get("podMetricsEndpoints")
            ):
                asked[point["port"]].add(point["path"])
    assert asked["http"] == asked["metrics"] == {"/livez", "/readyz", "/metrics"}
    assert asked["http"] <= create_app(Settings()).openapi()["paths"].keys()
    port = free_port()
    with serve_health(Settings(metrics_port=port), CollectorRegistry(), lambda: Health("ready")):
        for path in asked["metrics"]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200


def test_pods_get_more_time_to_end_than_their_processes_take() -> None:
    for _, container, document in our_containers():
        grace_s = pod(document)["terminationGracePeriodSeconds"]
        match container["name"]:
            case "api":
                sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                assert grace_s > sleep_s + http_server._OPEN_REQUESTS_GRACE_S
            case "worker":
                assert grace_s > attempt.DRAIN_S + upload.RETRY_FOR_S
            case "janitor":
                assert grace_s > webhook_http.DEADLINE_S
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = schema["properties"]["workerDefaults"]["properties"]["terminationGracePeriodSeconds"]
    assert given["minimum"] > attempt.DRAIN_S + upload.RETRY_FOR_S


def test_a_process_that_is_still_starting_hears_sigterm() -> None:
    """The first process of a PID namespace ignores signals that it has no handler for yet."""
    for _, _, document in our_containers():
        assert pod(document)["shareProcessNamespace"] is True


def test_models_of_the_api_are_those_of_the_workers() -> None:
    for name in NAMES:
        of_workers = [v["model"] for v in values(name)["workers"]]
        [api] = [c for n, c, _ in our_containers() if (n, c["name"]) == (name, "api")]
        given = variables(api)
        settings = Settings(model=given["PANOWEAVE_MODEL"], models=given.get("PANOWEAVE_MODELS"))
        assert list(settings.model_names) == of_workers
        workers = [c for n, c, _ in our_containers() if (n, c["name"]) == (name, "worker")]
        assert [variables(each)["PANOWEAVE_MODEL"] for each in workers] == of_workers
        # Before any worker has loaded it, these tell the API what the first model makes.
        for added in ("PANOWEAVE_TINY_DECODER", "PANOWEAVE_CONTROLNET"):
            assert given.get(added) == variables(workers[0]).get(added)


@pytest.fixture
def fleet(settings: Settings, redis: Redis) -> Iterator[Callable[[str], httpx.Response]]:
    """KEDA: asks the URL of a trigger with the key of its TriggerAuthentication."""
    [api] = [c for n, c, _ in our_containers() if (n, c["name"]) == ("mixed-models", "api")]
    given = variables(api)
    mine = settings.model_copy(
        update={
            "model": given["PANOWEAVE_MODEL"],
            "models": given["PANOWEAVE_MODELS"],
            "allowed_hosts": given["PANOWEAVE_ALLOWED_HOSTS"],
        }
    )
    _, token = ApiKeys(redis).create("fleet", ("scaling",))
    with serving(mine) as client:

        def ask(url: str) -> httpx.Response:
            parts = urlsplit(url)
            headers = {"Authorization": f"Bearer {token}", "Host": parts.netloc}
            return client.get(f"{parts.path}?{parts.query}", headers=headers)

        yield ask


def test_keda_gets_a_number_for_each_model(fleet: Callable[[str], httpx.Response]) -> None:
    scaled = of_kind("mixed-models", "ScaledObject")
    models = [each["model"] for each in values("mixed-models")["workers"]]
    assert len(scaled) == len(models)
    for document, model in zip(scaled, models, strict=True):
        [trigger] = document["spec"]["triggers"]
        metadata = trigger["metadata"]
        answer = fleet(metadata["url"])
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == model
        assert answer.json()[metadata["valueLocation"]] == 0
        assert (metadata["targetValue"], metadata["activationTargetValue"]) == ("1", "0")
        assert metadata["authMode"] == "bearer"
        [authentication] = of_kind("mixed-models", "TriggerAuthentication")
        assert authentication["metadata"]["name"] == trigger["authenticationRef"]["name"]
        assert authentication["spec"]["secretTargetRef"][0]["parameter"] == "token"
        service = urlsplit(metadata["url"]).hostname
        assert f"Service {str(service).split('.')[0]}" in map(title, rendered("mixed-models"))


def test_alerts_and_dashboard_are_those_of_the_documentation() -> None:
    [dashboard, alerts] = of_kind("mixed-models", "ConfigMap")
    assert json.loads(dashboard["data"]["panoweave.json"]) == DASHBOARD
    groups = yaml.safe_load(alerts["data"]["alerts.yml"])["groups"]
    [rule] = of_kind("mixed-models", "PrometheusRule")
    assert groups == rule["spec"]["groups"]
    assert [each for group in groups for each in group["rules"]] == RULES
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {each["job_name"] for each in config["scrape_configs"]}
    monitors = of_kind("mixed-models", "ServiceMonitor") + of_kind("mixed-models", "PodMonitor")
    points = [point for each in monitors for points in each["spec"].values() for point in points]
    named = [point["relabelings"] for point in points if "relabelings" in point]
    assert {each[0]["replacement"] for each in named} == jobs


def test_the_bundled_servers_are_started_as_in_the_compose_file() -> None:
    redis, s3 = of_kind("cpu-demo", "StatefulSet")
    [server] = pod(redis)["containers"]
    theirs = SERVICES["redis"]
    assert server["image"] == theirs["image"]
    assert server["command"][2:-2] == theirs["command"][2:]
    assert pod(redis)["securityContext"]["runAsUser"] == 999
    assert theirs["user"].startswith("999:")
    [server] = pod(s3)["containers"]
    theirs = SERVICES["seaweedfs"]
    assert server["image"] == theirs["image"]
    assert server["command"] == [*theirs["entrypoint"], *theirs["command"]]
    given = {k: v for k, v in variables(server).items() if k.startswith("WEED_")}
    assert given.keys() == {k for k in theirs["environment"] if k.startswith("WEED_")}
    for name, value in given.items():
        expected = theirs["environment"][name]
        assert value.split("$")[0] == expected.split("$")[0]
    setup = containers(s3)[0]
    assert " ".join(setup["command"]) in SERVICES["seaweedfs-setup"]["command"][2]
    for mount in COMPOSE["services"]["seaweedfs"]["volumes"]:
        assert mount.split(":")[1] in {each["mountPath"] for each in server["volumeMounts"]}


def test_pictures_come_from_where_clients_reach_them() -> None:
    expected = {
        "cpu-demo": "http://127.0.0.1:8333",
        "one-gpu": "https://pictures.example.com",
        "mixed-models": "",
        "multi-gpu": "https://pictures.example.com",
        "locked-down": "https://pictures.example.com",
    }
    for name, container, _ in our_containers():
        assert variables(container).get("PANOWEAVE_S3_PUBLIC_ENDPOINT", "") == expected[name]


def test_who_reaches_whom() -> None:
    """The locked-down fleet goes to named addresses only, and lets in what it must."""
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in rendered("locked-down")
        if each["kind"] == "NetworkPolicy"
    }
    assert set(policies) == {"panoweave-api", "panoweave-worker", "panoweave-janitor"}
    [way_in] = policies["panoweave-api"]["ingress"]
    spaces = [p["namespaceSelector"]["matchLabels"].values() for p in way_in["from"]]
    assert {each for labels in spaces for each in labels} == {
        "ingress-nginx",
        "keda",
        "monitoring",
    }
    for name, policy in policies.items():
        blocks = [p["ipBlock"] for rule in policy["egress"] for p in rule["to"] if "ipBlock" in p]
        cidrs = {block["cidr"] for block in blocks}
        webhooks = {"10.40.0.0/16"} if name == "panoweave-janitor" else set()
        assert cidrs == {"10.20.0.0/24", "10.30.0.0/24"} | webhooks


def test_public_addresses_leave_the_metadata_services_out() -> None:
    [janitor] = [p for p in of_kind("mixed-models", "NetworkPolicy") if "janitor" in title(p)]
    blocks = [
        p["ipBlock"]
        for rule in janitor["spec"]["egress"]
        for p in rule.get("to", [])
        if "ipBlock" in p
    ]
    [four] = [block for block in blocks if block["cidr"] == "0.0.0.0/0"]
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(four["except"])


def test_a_worker_says_more_than_the_defaults_and_keeps_the_rest() -> None:
    by_name = {each["metadata"]["name"]: each for each in of_kind("mixed-models", "ScaledObject")}
    large = by_name["panoweave-worker-sdxl"]["spec"]
    assert (large["minReplicaCount"], large["maxReplicaCount"]) == (1, 40)
    assert by_name["panoweave-worker-sd2"]["spec"]["minReplicaCount"] == 0
    assert large["cooldownPeriod"] == by_name["panoweave-worker-sd2"]["spec"]["cooldownPeriod"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"apii": {}}, "apii"),
    ({"workers": []}, "workers"),
    ({"workers": [{"name": "sea"}]}, "model"),
    ({"workers": [{"name": "Sea", "model": "sea"}]}, "name"),
    (
        {"workers": [{"name": "a", "model": "x", "terminationGracePeriodSeconds": 30}]},
        "termination",
    ),
    ({"api": {"anonymous": "loopback"}}, "anonymous"),
    ({"settings": {"panoweave_model": "x"}}, "panoweave_model"),
    ({"settings": {"PANOWEAVE_REDIS_URL": "redis://:secret@here"}}, "REDIS_URL"),
    ({"networkPolicy": {"webhookNetworks": ["10.0.0.1"]}}, "webhookNetworks"),
    ({"image": {"api": {"digest": "sha256:12"}}}, "digest"),
    ({"bundledServers": {"enabled": False}}, "secret.existing"),
    ({"secret": {"existing": "mine"}}, "bundledServers"),
    ({"workers": [{"name": "a", "model": "x", "autoscaling": {"enabled": True}}]}, "tokenSecret"),
    ({"workers": [{"name": "a", "model": "x"}, {"name": "a", "model": "y"}]}, "two have the name"),
    ({"ingress": {"enabled": True}}, "ingress.host"),
]


@pytest.mark.parametrize(("given", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_values_that_are_not_legal_are_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(named)):
        render(given)


def test_numbers_and_truths_become_text() -> None:
    given = {"PANOWEAVE_TENANT_MAX_BYTES": 268435456, "PANOWEAVE_WEBHOOK_HTTP": True}
    [api] = [
        each for each in render({"settings": given}) if title(each) == "Deployment panoweave-api"
    ]
    shown = variables(containers(api)[0])
    assert shown["PANOWEAVE_TENANT_MAX_BYTES"] == "268435456"
    assert shown["PANOWEAVE_WEBHOOK_HTTP"] == "true"


@pytest.mark.parametrize("name", NAMES)
def test_where_a_model_is_on_the_hub_workers_and_the_api_reach_it(name: str) -> None:
    """The API reads what a model makes, also while there is no worker."""
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(name, "NetworkPolicy")}
    has_hub_models = bool(values(name).get("networkPolicy", {}).get("hub"))
    for process in ("api", "worker"):
        (spec,) = [spec for policy, spec in policies.items() if policy.endswith(f"-{process}")]
        peers = [peer for rule in spec["egress"] for peer in rule.get("to", ())]
        networks = [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]
        assert ("0.0.0.0/0" in networks) == has_hub_models
