"""Takes the pictures of docs/studio: `python -m tests.deploy.studio.pictures URL docs/studio`.

URL: a `panoweave up` with the embedded model. Names of scenes may follow. Each scene is taken at
three widths, and once in the dark; `making.webp` shows a panorama that sharpens.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.deploy.browser import chromium

WIDTHS: Final = {390: 844, 1024: 768, 1920: 1080}
DARK_WIDTH: Final = 1024
MOVING: Final = (1024, 600)
FRAME_MS: Final = 700
MAX_FRAMES: Final = 24
MADE_MS: Final = 300_000
QUALITY: Final = 82
GALLERY: Final = (
    ("snowy mountain peaks under the stars", 3),
    ("an autumn forest in the mist", 8),
    ("sand dunes at sunset", 5),
    ("rolling green hills under clouds", 2),
    ("a calm sea at twilight", 4),
)
RING: Final = {"prompt": "a forest", "seed": 1, "loop": True, "width": 2304}

Theme = Literal["light", "dark"]


def main(url: str, target: Path, wanted: Sequence[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=url, timeout=90) as http:
        for prompt, seed in GALLERY:
            make(http, {"prompt": prompt, "seed": seed})
        ring = make(http, RING)
        with chromium() as browser:
            scenes: dict[str, Callable[[Page], None]] = {
                "watch": lambda page: show_watch(page, url, http),
                "make": lambda page: show_make(page, url),
                "look": lambda page: show_look(page, url, ring),
                "compare": lambda page: show_compare(page, url, ring),
                "sphere": lambda page: show_sphere(page, url, ring),
                "draw": lambda page: show_draw(page, url),
                "gallery": lambda page: show_gallery(page, url),
                "service": lambda page: show_service(page, url),
            }
            for name in wanted or (*scenes, "making"):
                if name == "making":
                    film(browser, url, target / "making.webp")
                    continue
                scene = scenes[name]
                for width in WIDTHS:
                    shoot(browser, scene, width, "light", target / f"{name}-{width}.webp")
                shoot(browser, scene, DARK_WIDTH, "dark", target / f"{name}-dark.webp")


def make(http: httpx.Client, request: dict[str, Any]) -> str:
    for known in http.get("/panoramas?limit=100&status=succeeded").json()["items"]:
        if request.items() <= known["params"].items() and known["params"]["sync"]["weight"]:
            return str(known["id"])  # of an earlier run
    job: Any = http.post("/panoramas", json=request, headers={"Prefer": "wait=60"}).json()
    while job["status"] in ("queued", "running"):
        job = http.get(f"/panoramas/{job['id']}", headers={"Prefer": "wait=60"}).json()
    assert job["status"] == "succeeded", job
    return str(job["id"])


def shoot(
    browser: Browser, scene: Callable[[Page], None], width: int, theme: Theme, file: Path
) -> None:
    size: Any = {"width": width, "height": WIDTHS[width]}
    page = browser.new_page(viewport=size, color_scheme=theme)
    scene(page)
    page.wait_for_timeout(600)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=file.name.startswith("draw"))))
    picture.convert("RGB").save(file, quality=QUALITY, method=6)
    page.close()
    print(file, file.stat().st_size, flush=True)


def film(browser: Browser, url: str, file: Path) -> None:
    width, height = MOVING
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(MADE_MS)
    show_make(page, url)
    page.get_by_role("spinbutton", name="Steps").fill("24")
    page.evaluate("scrollTo(0, 0)")
    frames = [page.screenshot()] * 2
    page.get_by_role("button", name="Make panorama").click()
    while not page.get_by_role("link", name="Download").is_visible():
        frames.append(page.screenshot())
        page.wait_for_timeout(FRAME_MS)
    page.wait_for_timeout(FRAME_MS)
    frames = frames[:: max(1, len(frames) // MAX_FRAMES)] + [page.screenshot()] * 4
    page.close()
    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    first, *others = [picture.resize((width * 5 // 8, height * 5 // 8)) for picture in pictures]
    first.save(
        file, save_all=True, append_images=others, duration=350, loop=0, quality=62, method=6
    )
    print(file, file.stat().st_size)


def show_make(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="a mountain lake at dawn").click()


def show_watch(page: Page, url: str, http: httpx.Client) -> None:
    slow = {"prompt": "a mountain lake at dawn", "seed": 11, "steps": 30}
    job: Any = http.post("/panoramas", json=slow).json()
    page.goto(f"{url}/#/panoramas/{job['id']}")
    expect(page.get_by_role("img", name="as the model predicts it")).to_be_visible(timeout=MADE_MS)


def show_look(page: Page, url: str, job_id: str) -> None:
    page.goto(f"{url}/#/panoramas/{job_id}")
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    page.get_by_text("As code").click()


def show_compare(page: Page, url: str, job_id: str) -> None:
    show_look(page, url, job_id)
    page.get_by_role("button", name="Compare").click()
    slider = page.get_by_role("slider")
    expect(slider).to_be_visible(timeout=MADE_MS)


def show_sphere(page: Page, url: str, job_id: str) -> None:
    show_look(page, url, job_id)
    page.get_by_role("button", name="360°").click()
    expect(page.locator(".mode.sphere[data-ready]")).to_be_visible()


def show_draw(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="rolling green hills under clouds").click()
    page.get_by_role("button", name="Box").click()
    page.get_by_label("Prompt of the region").fill("a lake")
    page.locator(".sheet").scroll_into_view_if_needed()
    page.get_by_role("button", name="Brush").click()
    box = page.locator(".sheet").bounding_box()
    assert box
    for step, share in enumerate((0.72, 0.8, 0.88, 0.95)):
        x, y = box["x"] + share * box["width"], box["y"] + (0.3 + 0.1 * step) * box["height"]
        page.mouse.move(x, y, steps=3)
        if step == 0:
            page.mouse.down()
    page.mouse.up()
    page.get_by_role("button", name="Finish painting").click()
    page.get_by_label("Prompt of the region").nth(1).fill("snowy mountain peaks")


def show_gallery(page: Page, url: str) -> None:
    page.goto(f"{url}/#/gallery")
    page.get_by_label("Show", exact=True).select_option("done")
    page.wait_for_load_state("networkidle")


def show_service(page: Page, url: str) -> None:
    page.goto(f"{url}/#/service")
    expect(page.get_by_role("heading", name="What you have used")).to_be_visible()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3:])
