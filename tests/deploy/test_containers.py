"""The container files, as far as they can be checked without a container engine.

`make lint` checks their form: hadolint the Dockerfile, check-jsonschema docker-compose.yml.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from typer.main import get_command

from panoweave.core.infra.settings import Settings
from panoweave.deploy.cli import app
from panoweave.deploy.local.child import Child
from panoweave.deploy.local.ports import free_port
from panoweave.deploy.local.servers import S3Server, find_redis_server
from tests.deploy.files import COMPOSE, DOCKERFILE, SERVICES
from tests.processes import wait_until

ROOT = Path(__file__).parents[2]
OURS = {
    name: service
    for name, service in SERVICES.items()
    if "build" in service and name != "seaweedfs-setup"
}


def test_there_are_the_parts_of_the_stack() -> None:
    assert set(SERVICES) == {*OURS, "redis", "seaweedfs", "seaweedfs-setup"}
    assert set(OURS) == {"api", "worker", "worker-gpu", "janitor"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 1_000
    if name == "seaweedfs-setup":  # it gives SeaweedFS its volumes, and has no network
        assert service["cap_add"] == ["CHOWN", "DAC_OVERRIDE"]
        assert service["network_mode"] == "none"
    else:
        assert "cap_add" not in service
        assert not service.get("user", "10001").startswith("0")


def test_no_secret_stands_on_a_command_line() -> None:
    for service in SERVICES.values():
        words = [service.get("command"), service.get("entrypoint"), service.get("healthcheck")]
        assert "$" not in json.dumps(words)


def test_seaweedfs_gets_the_keys_and_the_certificate_of_the_local_one(
    s3_server: S3Server, tmp_path: Path
) -> None:
    running = Path(f"/proc/{s3_server.child.pid}/environ").read_text().split("\0")
    names = {pair.split("=")[0] for pair in running if pair.startswith("WEED_")}
    given = SERVICES["seaweedfs"]["environment"]
    assert {name for name in given if name.startswith("WEED_")} == names
    module = re.search(r"python -m (\S+) /certificate ", SERVICES["seaweedfs-setup"]["command"][2])
    assert module
    subprocess.run([sys.executable, "-m", module[1], str(tmp_path)], check=True)
    files = {value.rpartition("/")[2] for value in given.values() if value.startswith("/")}
    assert files == {file.name for file in tmp_path.iterdir()}


def test_every_panoweave_command_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    written = [service["command"] for service in OURS.values() if "command" in service]
    written += [json.loads(line) for line in re.findall(r"^CMD (\[.+)", DOCKERFILE, re.M)]
    assert len(written) == 5
    for program, command in written:
        assert program == "panoweave"
        assert command in commands


def test_every_setting_exists() -> None:
    for service in OURS.values():
        for name in service["environment"]:
            assert name.removeprefix("PANOWEAVE_").lower() in Settings.model_fields


def test_no_secret_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|ACCESS_KEY|SIGNING|AUTH|REDIS_URL", name):
                assert re.search(r"\$\{[A-Z0-9_]+:\?", value), name
    example = (ROOT / ".env.example").read_text()
    required = set(re.findall(r"\$\{([A-Z0-9_]+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert set(re.findall(r"^([A-Z0-9_]+)=$", example, re.M)) == required


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert SERVICES["api"]["environment"]["PANOWEAVE_HOST"] == "127.0.0.1"


def test_images_run_as_nobody_special_and_are_pinned() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[2:]
    assert len(stages) == 2
    assert all(re.search(r"^USER \d+$", stage, re.M) for stage in stages)
    assert re.match(r"FROM python:3\.11\.\d+-slim-\w+ ", DOCKERFILE[DOCKERFILE.index("FROM ") :])
    for name in ("redis", "seaweedfs"):
        assert re.search(r":\d+\.\d+", SERVICES[name]["image"])


def test_the_api_image_gets_no_torch() -> None:
    api = DOCKERFILE.partition("AS api")[2].partition("\nFROM ")[0]
    assert '".[service,cli]"' in api
    assert "core/diffusion" not in re.sub(r"#.*", "", api)


def test_what_the_api_image_copies_is_enough(tmp_path: Path) -> None:
    api = DOCKERFILE.partition("AS api")[2].partition("\nFROM ")[0]
    for line in re.findall(r"^COPY (.+)", api, re.M):
        *sources, target = line.split()
        for pattern in sources:
            for source in ROOT.glob(pattern):
                place = tmp_path / target / ("" if source.is_dir() else source.name)
                if source.is_dir():
                    shutil.copytree(source, place, symlinks=True)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, place)
    program = (
        "import sys\n"
        "import panoweave.service.app, panoweave.worker.janitor\n"
        "import panoweave.deploy.cli, panoweave.deploy.serve.processes\n"
        f"assert panoweave.service.app.__file__.startswith({str(tmp_path)!r})\n"
        "from panoweave.core.infra.settings import Settings\n"
        "from panoweave.service.model_files import ModelFiles\n"
        "traits = ModelFiles(Settings(model='embedded')).traits('embedded')\n"
        "assert traits.tiny_decoder and traits.controlnet\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_every_file_that_is_copied_reaches_the_build() -> None:
    let_in = re.findall(r"^!([^/\n]+)", (ROOT / ".dockerignore").read_text(), re.M)
    for line in re.findall(r"^COPY (.+)", DOCKERFILE, re.M):
        for source in line.split()[:-1]:
            assert any(ROOT.glob(source)), source
            assert source.split("/")[0] in let_in, source


def test_the_redis_command_starts_a_redis_that_keeps_jobs(tmp_path: Path) -> None:
    port = free_port()
    [given] = SERVICES["redis"]["configs"]
    config = tmp_path / "redis.conf"
    config.write_text(re.sub(r"\$\{.+\}", "secret", COMPOSE["configs"][given["source"]]["content"]))
    words = SERVICES["redis"]["command"][1:]
    flags = [str(config) if word == given["target"] else word for word in words]
    command = [str(find_redis_server()), *flags, "--port", str(port), "--dir", str(tmp_path)]
    child = Child("redis", command, os.environ, tmp_path / "log", grace_s=5)
    child.start()
    with Redis(port=port, password="secret") as client:
        wait_until(lambda: "Ready to accept" in child.log_tail(), 30, child.log_tail)
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("maxmemory") == {"maxmemory": str(2**30)}
    child.kill()


def test_the_s3_flags_are_those_of_the_local_stack(s3_server: S3Server) -> None:
    assert s3_server.child.pid is not None
    running = Path(f"/proc/{s3_server.child.pid}/cmdline").read_text().split("\0")
    # Where it lies and listens is the container's own affair.
    place = ("-dir=", "-ip=", "-ip.bind=", "-s3.port=")
    flags = {flag for flag in SERVICES["seaweedfs"]["command"] if not flag.startswith(place)}
    assert flags <= set(running), flags - set(running)


@pytest.mark.parametrize("name", ["redis", "seaweedfs"])
def test_servers_say_when_they_are_ready(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    waits = [service["depends_on"][name] for service in OURS.values()]
    assert waits == [{"condition": "service_healthy"}] * len(OURS)
