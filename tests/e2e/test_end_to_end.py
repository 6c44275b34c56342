"""A prompt over HTTP to a picture, with the model that ships, in the processes that ship."""

from __future__ import annotations

import hashlib
import io
import statistics
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image, ImageStat

from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from tests.e2e.service import Service, is_ready, serving, steps_done
from tests.processes import wait_until


@pytest.fixture(scope="module")
def service(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("end-to-end") / "log"
    with serving(settings, log) as running, connect(settings) as redis:
        running.start_worker()
        wait_until(lambda: is_ready(redis, "embedded"), 90, log)
        yield running


def test_a_prompt_becomes_a_picture(service: Service) -> None:
    job = service.post(prompt="a lake at sunset", width=512, steps=12, seed=4)
    assert job["status"] == "queued"
    fractions: list[float] = []

    def ended() -> bool:
        now = service.read(job["id"])
        if now["progress"]:
            fractions.append(now["progress"]["fraction"])
        return now["status"] not in ("queued", "running")

    wait_until(ended, 120, service.log)
    done = service.read(job["id"])
    assert done["status"] == "succeeded", done
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 2  # it was seen to move

    result = done["result"]
    picture = httpx.get(result["image_url"], timeout=30)
    assert picture.headers["content-type"] == "image/png"
    assert hashlib.sha256(picture.content).hexdigest() == result["sha256"]
    assert len(picture.content) == result["bytes"]
    image = Image.open(io.BytesIO(picture.content)).convert("RGB")
    assert image.size == (result["width"], result["height"]) == (512, 256)
    assert statistics.mean(ImageStat.Stat(image).stddev) > 8  # not flat
    assert result["coherence"]["intra_lpips"] > 0
    redirect = service.http.get(f"/panoramas/{job['id']}/image")
    assert redirect.status_code == 307
    assert httpx.get(redirect.headers["location"], timeout=30).content == picture.content


@pytest.mark.slow
def test_kill_9_mid_job_and_another_worker_takes_over(service: Service) -> None:
    job = service.post(prompt="mountains", width=512, steps=40, seed=4)
    wait_until(lambda: steps_done(service.read(job["id"])) > 2, 60, service.log)
    assert service.worker is not None
    service.worker.kill()
    service.start_worker()
    done = service.wait(job["id"], "succeeded")
    assert done["attempts"] == 2
    picture = httpx.get(done["result"]["image_url"], timeout=30).content
    assert hashlib.sha256(picture).hexdigest() == done["result"]["sha256"]


def test_cancelled_while_it_runs_and_while_it_waits(service: Service) -> None:
    running = service.post(prompt="mountains", steps=200, seed=4)
    waiting = service.post(prompt="a desert", steps=200, seed=4)
    behind = service.post(prompt="the sea", width=256, steps=2, seed=4)
    wait_until(lambda: steps_done(service.read(running["id"])) > 0, 60, service.log)
    assert service.read(behind["id"])["queue_position"] == 1

    assert service.http.post(f"/panoramas/{waiting['id']}/cancel").json()["status"] == "cancelled"
    assert service.read(behind["id"])["queue_position"] == 0
    assert service.http.post(f"/panoramas/{running['id']}/cancel").json()["cancel_requested"]
    service.wait(running["id"], "cancelled", 30)
    service.wait(behind["id"], "succeeded", 60)
    listed = service.http.get("/panoramas", params={"status": "cancelled"}).json()["items"]
    assert {item["id"] for item in listed} == {running["id"], waiting["id"]}
