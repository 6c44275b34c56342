"""examples/follow: a page in a real browser follows a panorama to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from panoweave.deploy.local.ports import free_port
from tests.deploy.browser import TIMEOUT_MS, chromium
from tests.deploy.examples.service import Service, next_line


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        yield page


def test_the_page_follows_a_panorama_and_survives_a_broken_connection(
    service: Service, page: Page, tmp_path: Path
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sent: list[dict[str, str]] = []
    page.on("request", lambda request: sent.append(request.headers))
    arguments = ("follow/serve.py", "--port", str(free_port()))
    with service.running(*arguments, cwd=tmp_path) as server:
        page.goto(next_line(server).removeprefix("open "))
        page.get_by_label("Prompt").fill("a lake")
        page.get_by_label("Steps").fill("15")
        page.get_by_role("button").click()
        page.get_by_text("started (attempt 1)").wait_for()
    with service.running(*arguments, cwd=tmp_path) as server:
        next_line(server)
        page.get_by_text("succeeded", exact=True).first.wait_for()
        page.get_by_role("img").wait_for()
        width = page.get_by_role("img").evaluate("image => image.naturalWidth")
    assert page.locator("li").all_inner_texts() == ["created", "started (attempt 1)", "succeeded"]
    assert page.get_by_role("progressbar").evaluate("bar => bar.value") == 1
    assert width == 6 * 64
    assert not errors
    assert sent
    assert not any(service.api_key in value for headers in sent for value in headers.values())


def test_the_page_shows_a_refusal(service: Service, page: Page, tmp_path: Path) -> None:
    with service.running("follow/serve.py", "--port", "0", cwd=tmp_path) as server:
        page.goto(next_line(server).removeprefix("open "))
        page.get_by_label("Prompt").fill(" ")
        page.get_by_role("button").click()
        page.get_by_text("invalid_params").wait_for()


def test_only_what_the_page_needs_is_forwarded(service: Service, tmp_path: Path) -> None:
    with service.running("follow/serve.py", "--port", "0", cwd=tmp_path) as server:
        url = next_line(server).removeprefix("open ")
        with httpx.Client(base_url=url, timeout=30) as browser:
            for path in ("/panoramas", "/status", "/metrics", "/panoramas/pano_1/../../status"):
                assert browser.get(path).status_code == 404, path
            assert browser.post("/uploads").status_code == 404
            assert browser.get("/panoramas/pano_0/events").json()["code"] == "not_found"
