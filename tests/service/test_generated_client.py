"""A client that openapi-python-client makes of the published contract does what one needs."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from tests.processes import wait_until
from tests.service.documentation import documented
from tests.service.steps import finish

PACKAGE = "panoweave_generated"
TENANT = "ada"


@pytest.fixture(scope="module", autouse=True)
def generated(server: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder it is in: made by the documented command, without a warning, so nothing is left
    out."""
    folder = tmp_path_factory.mktemp("client")
    line = documented("sh", "generate").splitlines()[-1]
    command = line.replace("http://127.0.0.1:8000", str(server.base_url))
    assert command != line
    # The generator calls ruff, which is where it is itself.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command.replace("-", "_", 2)), "--fail-on-warning"],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout.upper()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def token(api: httpx.Client, redis: Redis) -> str:  # noqa: ARG001
    return ApiKeys(redis).create(TENANT, ("write",))[1]


@pytest.fixture
def client(api: httpx.Client, token: str) -> Iterator[Any]:
    made = importlib.import_module(PACKAGE).AuthenticatedClient(
        str(api.base_url), token=token, raise_on_unexpected_status=True
    )
    with made as opened:
        yield opened


def operation(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.api.panoramas.{name}")


def models() -> Any:
    return importlib.import_module(f"{PACKAGE}.models")


def test_it_has_every_operation(server: httpx.Client) -> None:
    for operations in server.get("/openapi.json").json()["paths"].values():
        for described in operations.values():
            (tag,) = described["tags"]
            module = importlib.import_module(f"{PACKAGE}.api.{tag}.{described['operationId']}")
            assert callable(module.sync_detailed)


def test_a_panoramas_life(client: Any) -> None:
    create, read = operation("create_panorama").sync, operation("get_panorama").sync
    request = models().PanoramaRequest(
        prompt="a hill",
        width=256,
        regions=[models().Region(prompt="a tree", x=0, width=128)],
        sync=models().SyncParams(weight=10.0),
    )
    made = create(client=client, body=request, idempotency_key="order-7")
    assert isinstance(made, models().PanoramaView)
    assert create(client=client, body=request, idempotency_key="order-7").id == made.id
    assert (made.status, made.params.width, made.params.sync.weight) == ("queued", 256, 10)
    assert made.params.regions[0].prompt == "a tree"

    again = read(made.id, client=client, prefer="wait=0")
    assert again == made
    page = operation("list_panoramas").sync(client=client, status=[models().Status.QUEUED], limit=5)
    assert [item.id for item in page.items] == [made.id]
    assert page.next_cursor is None

    early = operation("delete_panorama").sync(made.id, client=client)
    assert isinstance(early, models().Problem)
    assert (early.status, early.code) == (409, "not_ended")
    cancelled = operation("cancel_panorama").sync(made.id, client=client)
    assert cancelled.status is models().Status.CANCELLED
    assert operation("delete_panorama").sync_detailed(made.id, client=client).status_code == 204
    gone = read(made.id, client=client)
    assert isinstance(gone, models().Problem)
    assert (gone.status, gone.code) == (404, "not_found")


def test_a_refusal_names_the_field(client: Any) -> None:
    request = models().PanoramaRequest(prompt="a hill", width=700)
    refused = operation("create_panorama").sync(client=client, body=request)
    assert isinstance(refused, models().Problem)
    assert refused.code == "invalid_params"
    (error,) = refused.errors
    assert (error.field, "672 or 704" in error.legal) == ("width", True)


def test_the_documented_program_runs(
    api: httpx.Client, token: str, store: JobStore, objects: ObjectStore, generated: Path
) -> None:
    program = documented("python", PACKAGE)
    program = program.replace("http://127.0.0.1:8000", str(api.base_url)).replace("pw_...", token)
    running = subprocess.Popen(
        [sys.executable, "-c", program], cwd=generated, stdout=subprocess.PIPE, text=True
    )
    with running:
        wait_until(lambda: bool(store.list(TENANT).records), 30)
        (waiting,) = store.list(TENANT).records
        finish(store, objects, waiting.id)
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert said.startswith("succeeded http")
