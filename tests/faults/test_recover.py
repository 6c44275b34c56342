"""Redis is emptied below a running service; `panoweave recover` brings back what was made."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from panoweave.core.infra.redis import connect
from tests.faults.arena import arena
from tests.processes import environment_of, wait_until

_SOON_S = 240  # on a busy machine


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pictures_are_found_again(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with arena(tmp_path, tiny_checkpoint, ("api-1", "worker-1", "janitor-1")) as here:
        wait_until(lambda: here.ready_workers() == 1, _SOON_S)
        made = [here.post(f"made-{number}", steps=2, seed=number) for number in range(3)]
        for job_id in made:
            wait_until(lambda job=job_id: here.view(job)["status"] == "succeeded", _SOON_S)  # type: ignore[misc]
        before = [here.view(job_id) for job_id in made]
        with connect(here.settings) as redis:
            redis.flushall()
        assert here.ask("GET", "/panoramas").json()["items"] == []

        command = [sys.executable, "-P", "-m", "panoweave.deploy.cli", "recover"]
        done = subprocess.run(
            [*command, "--data", str(tmp_path / "none")],
            env=environment_of(here.settings),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "3  panoramas restored" in done.stdout
        listed = here.ask("GET", "/panoramas").json()["items"]
        assert {each["id"] for each in listed} == set(made)
        for view in before:
            now = here.view(view["id"])
            assert now["result"]["sha256"] == view["result"]["sha256"]
            picture = httpx.get(now["result"]["image_url"]).content
            assert hashlib.sha256(picture).hexdigest() == view["result"]["sha256"]
            assert now["params"] == view["params"]
        assert here.ask("DELETE", f"/panoramas/{made[0]}").status_code == 204
        wait_until(lambda: here.ready_workers() == 1, 60)  # the worker has made itself known again
        later = here.post("later", steps=2)
        wait_until(lambda: here.view(later)["status"] == "succeeded", 60)
