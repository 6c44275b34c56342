"""What would stop the API's event loop for a while is done before it serves."""

from __future__ import annotations

import gc
import os
from multiprocessing.connection import Connection
from typing import NoReturn

import fastapi.dependencies.utils
import httpx
import pytest
import uvicorn

from panoweave.core.infra.settings import Settings
from panoweave.deploy.serve.processes import run_api
from panoweave.service.http import auth
from tests.processes import environment_of, forking
from tests.service.checks import problem
from tests.service.server import serving

_OBJECTS = 2_000  # a look through so many takes 1 ms


def _start_to_serve(environment: dict[str, str], seen: Connection) -> None:
    """In a forked process: `panoweave api`, up to where uvicorn would take over."""
    os.environ.update(environment)

    def run(server: uvicorn.Server) -> None:
        app = server.config.app
        seen.send((app.openapi_schema is not None, len(gc.get_objects())))  # type: ignore[union-attr]

    uvicorn.Server.run = run  # type: ignore[method-assign,assignment]
    run_api()


def test_the_api_begins_with_nothing_to_build_or_to_look_through(settings: Settings) -> None:
    seen, child_end = forking().Pipe(duplex=False)
    child = forking().Process(target=_start_to_serve, args=(environment_of(settings), child_end))
    child.start()
    child_end.close()
    document_is_built, objects = seen.recv()
    child.join()
    assert document_is_built
    assert objects < _OBJECTS


def test_a_request_without_a_key_takes_no_thread(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_thread(*_: object) -> NoReturn:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr(auth, "run_in_threadpool", no_thread)
    monkeypatch.setattr(fastapi.dependencies.utils, "run_in_threadpool", no_thread)
    with serving(settings.model_copy(update={"anonymous": "off"})) as api:
        problem(api.post("/panoramas", json={"prompt": "a lake"}), 401, "unauthorized")
        answer: httpx.Response = api.get("/models")
        assert api.get("/livez").status_code == 200
    problem(answer, 401, "unauthorized")
