"""The studio in a browser, on a `panoweave up` with the model that ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.deploy.browser import TIMEOUT_MS, Seen, chromium
from tests.deploy.stack import RunningStack


@pytest.fixture(scope="session")
def embedded_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = RunningStack(tmp_path_factory.mktemp("studio") / "var", Path("embedded"))
    yield running
    running.stop()


@pytest.fixture(scope="module")  # its event loop must be gone when other modules run theirs
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(browser: Browser, seen: Seen) -> Iterator[Page]:
    """A page that must print no error and load nothing from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    seen.listen(page)
    yield page
    own = {url.partition("/studio/")[0] for url in seen.urls if "/studio/" in url}
    assert len(own) == 1
    assert not [url for url in seen.urls if not url.startswith((*own, "blob:", "data:"))]
    context.close()
    assert not seen.errors
