"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
TIMEOUT_MS = 30_000
# Chromium refuses to run as root in a sandbox. The 360° view is drawn without a GPU.
ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips the test where there is no browser, but not in CI."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    if not found:
        assert "CI" not in os.environ, "CI installs Chromium: see .ci/run"
        pytest.skip("no Chromium here; on Debian: apt install chromium-headless-shell")
    with sync_playwright() as playwright:
        expect.set_options(timeout=TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=found[0], args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page did besides what is shown."""

    errors: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [request.url for request in self.requests]

    def listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        self.requests.append(request)
