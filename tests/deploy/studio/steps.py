"""What the journeys do again and again."""

from __future__ import annotations

import re
from typing import NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.deploy.browser import Seen
from tests.deploy.stack import RunningStack

# A busy machine takes its time for one panorama.
MADE_MS = 120_000


def accessible(page: Page) -> None:
    """axe-core finds nothing, by its rules for WCAG 2.2 AA and good practice."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def open_studio(page: Page, stack: RunningStack, route: str = "#/") -> None:
    page.goto(f"{stack.http.base_url}/{route}")


class Grid(NamedTuple):
    """In which steps the model makes sizes."""

    window: int
    unit: int

    def caption(self, windows_wide: int) -> str:
        """How the frame names the size of so many windows."""
        width = windows_wide * self.window
        return f"{width:,} \N{MULTIPLICATION SIGN} {self.window} px"


def grid_of(stack: RunningStack, key: str | None = None) -> Grid:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    (model,) = stack.http.get("/models", headers=headers).json()["items"]
    return Grid(model["traits"]["window_px"], model["traits"]["px_per_latent"])


def make(page: Page) -> str:
    """Ask for the panorama that the form describes. Returns its id."""
    page.get_by_role("button", name="Make panorama").click()
    page.wait_for_url(re.compile(r"#/panoramas/pano_"))
    return page.url.rpartition("/")[2]


def wait_until_made(page: Page) -> None:
    expect(page.get_by_role("link", name="Download")).to_be_visible(timeout=MADE_MS)


def refusal(page: Page, field: str) -> Locator:
    return page.locator(f'[data-field="{field}"] > .field-error').last


def forgive(seen: Seen, *expected: str) -> None:
    """A browser prints an error for each refusal. Those that a journey provokes are no fault."""
    seen.errors[:] = [error for error in seen.errors if not any(each in error for each in expected)]
