"""Make, watch and look: each a journey in a browser, with the model that ships."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageStat
from playwright.sync_api import Page, Route, expect

from tests.deploy.browser import Seen
from tests.deploy.stack import RunningStack
from tests.deploy.studio.steps import (
    MADE_MS,
    accessible,
    forgive,
    grid_of,
    make,
    open_studio,
    refusal,
    wait_until_made,
)
from tests.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_make(embedded_stack: RunningStack, page: Page, seen: Seen) -> None:
    def with_a_new_parameter(route: Route) -> None:
        document = route.fetch().json()
        fields = document["components"]["schemas"]["PanoramaRequest"]["properties"]
        fields["mood"] = {
            "enum": ["calm", "wild"],
            "type": "string",
            "description": "How it feels.",
        }
        route.fulfill(json=document)

    page.route("**/openapi.json", with_a_new_parameter)
    open_studio(page, embedded_stack)
    page.get_by_role("button", name="sand dunes at sunset").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("sand dunes at sunset")
    page.get_by_role("radio", name="Fast").check(force=True)
    grid = grid_of(embedded_stack)
    page.get_by_label("Width", exact=True).fill(str(2 * grid.window))
    expect(page.get_by_role("figure")).to_contain_text(grid.caption(2))
    page.get_by_role("button", name="Random").click()
    seed = page.get_by_label("Seed").input_value()

    page.get_by_role("button", name="All parameters").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_label("negative prompt")).to_be_visible()
    accessible(page)
    drawer.get_by_label("Find a parameter").fill("mood")
    expect(drawer.get_by_label("negative prompt")).to_be_hidden()
    drawer.get_by_label("mood").select_option("wild")
    drawer.get_by_label("Find a parameter").fill("sync")
    drawer.get_by_label("weight").fill("9000")
    drawer.get_by_role("button", name="Done").click()

    page.get_by_role("button", name="Make panorama").click()
    expect(refusal(page, "mood")).to_contain_text("There is no such field")
    expect(refusal(page, "sync.weight")).to_contain_text("Legal: a number from 0 to 1000")
    drawer.get_by_label("mood").select_option("")
    drawer.get_by_label("weight").fill("")
    drawer.get_by_role("button", name="Done").click()
    page.get_by_role("spinbutton", name="Steps").fill("4")
    job_id = make(page)
    params = embedded_stack.http.get(f"/panoramas/{job_id}").json()["params"]
    assert (params["preset"], params["width"], params["steps"]) == ("fast", 2 * grid.window, 4)
    assert (params["seed"], params["prompt"]) == (int(seed), "sand dunes at sunset")
    wait_until_made(page)
    forgive(seen, "422")


def test_watch(embedded_stack: RunningStack, page: Page, seen: Seen) -> None:
    ahead = {"prompt": "a lake", "width": 256, "steps": 12}
    for _ in range(2):  # one runs, one waits
        embedded_stack.http.post("/panoramas", json=ahead)
    open_studio(page, embedded_stack)
    page.get_by_role("button", name="a mountain lake at dawn").click()
    page.get_by_label("Steps").fill("60")
    job_id = make(page)
    expect(page.get_by_text("Waiting: one panorama is before it")).to_be_visible()
    expect(page.get_by_text("Painting")).to_be_visible(timeout=MADE_MS)
    expect(page.locator(".detail")).to_contain_text("left")
    predicted = page.get_by_role("img", name="as the model predicts it")
    expect(predicted).to_be_visible(timeout=MADE_MS)
    first = predicted.get_attribute("src")
    accessible(page)

    os.kill(embedded_stack.state().children["api"], signal.SIGKILL)  # its supervisor restarts it
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    expect(page.get_by_text("The connection is lost.")).to_be_hidden(timeout=MADE_MS)
    last = [request for request in seen.requests if "/events" in request.url][-1]
    assert "last-event-id" in last.all_headers()
    wait_until(lambda: predicted.get_attribute("src") != first, 60)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("It was cancelled")).to_be_visible()
    assert embedded_stack.http.get(f"/panoramas/{job_id}").json()["status"] == "cancelled"
    forgive(seen, "net::ERR")


def test_look(embedded_stack: RunningStack, page: Page, tmp_path: Path) -> None:
    request = {"prompt": "a calm sea at twilight", "loop": True, "steps": 12, "seed": 3}
    job = embedded_stack.http.post("/panoramas", json=request).json()
    open_studio(page, embedded_stack, f"#/panoramas/{job['id']}")
    wait_until_made(page)
    result = embedded_stack.http.get(f"/panoramas/{job['id']}").json()["result"]

    strip = page.get_by_role("application")
    assert contrast(strip.screenshot()) > 8
    whole = strip.screenshot()
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_timeout(800)
    assert strip.screenshot() != whole
    strip.focus()
    zoomed = strip.screenshot()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(800)
    assert strip.screenshot() != zoomed
    accessible(page)

    page.get_by_role("button", name="360°").click()
    sphere = page.locator(".mode.sphere[data-ready]")
    expect(sphere).to_be_visible()
    page.wait_for_timeout(500)
    assert contrast(sphere.screenshot()) > 8
    accessible(page)

    page.get_by_role("button", name="Compare").click()
    slider = page.get_by_role("slider", name="without SyncDiffusion")
    expect(slider).to_be_visible(timeout=MADE_MS)
    expect(page.locator(".coherence")).to_contain_text("without SyncDiffusion")
    slider.press("End")
    unlike = page.locator(".compare-sheet").screenshot()
    slider.press("Home")
    assert page.locator(".compare-sheet").screenshot() != unlike
    accessible(page)
    plain = embedded_stack.http.get("/panoramas?limit=1").json()["items"][0]
    assert (plain["params"]["seed"], plain["params"]["sync"]["weight"]) == (3, 0)
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Compare").click()
    expect(slider).to_be_visible()
    again = embedded_stack.http.get("/panoramas?limit=1").json()["items"][0]
    assert again["id"] == plain["id"]  # made once

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    content = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest() == result["sha256"]
    assert download.value.suggested_filename == f"{job['id']}.png"

    page.get_by_role("button", name="Copy link", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    page.get_by_role("button", name="Copy link to the picture").click()
    wait_until(lambda: "X-Amz-" in page.evaluate("navigator.clipboard.readText()"), 30)

    page.get_by_text("As code").click()
    code = page.get_by_role("tabpanel")
    curl = code.inner_text()
    page.get_by_role("tab", name="curl").press("ArrowRight")
    python = code.inner_text()
    page.get_by_role("tab", name="Python").press("ArrowRight")
    body = json.loads(code.inner_text())
    assert (body["seed"], body["loop"]) == (3, True)
    accessible(page)
    said = subprocess.run(["bash", "-c", curl], check=True, capture_output=True, text=True)
    assert json.loads(said.stdout)["params"]["prompt"] == request["prompt"]
    script = tmp_path / "as_python.py"
    script.write_text(python)
    subprocess.run([sys.executable, script], check=True, cwd=tmp_path)
    with Image.open(tmp_path / "panorama.png") as made:
        assert made.width == result["width"]


def contrast(screenshot: bytes) -> float:
    return statistics.mean(ImageStat.Stat(Image.open(io.BytesIO(screenshot)).convert("RGB")).stddev)
