"""Draw: regions with prompts of their own, and pictures to extend, to follow and to trace."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import FilePayload, Page, expect

from panoweave.core.infra.s3 import ObjectStore
from panoweave.deploy.admin.tenants import settings_of
from tests.deploy.browser import Seen
from tests.deploy.stack import RunningStack
from tests.deploy.studio.steps import (
    Grid,
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


def begin(page: Page, stack: RunningStack) -> Grid:
    """Two windows, side by side."""
    grid = grid_of(stack)
    open_studio(page, stack)
    page.get_by_role("button", name="rolling green hills").click()
    page.get_by_label("Width", exact=True).fill(str(2 * grid.window))
    page.get_by_role("spinbutton", name="Steps").fill("4")
    expect(page.get_by_role("figure")).to_contain_text(grid.caption(2))
    return grid


def params_of(stack: RunningStack, job_id: str) -> Any:
    return stack.http.get(f"/panoramas/{job_id}").json()["params"]


def picture_of(stack: RunningStack, path: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(stack.http.get(path).content)).convert("RGB"))


def mask_of(stack: RunningStack, key: str) -> Any:
    settings = settings_of(stack.home.root)
    objects = ObjectStore(settings)
    try:
        return np.asarray(Image.open(io.BytesIO(objects.get(key))).convert("L"))
    finally:
        objects.close()


def stored_draft(page: Page) -> str:
    return str(page.evaluate("sessionStorage.getItem('panoweave-draft') ?? ''"))


def stored_mask(page: Page) -> Any:
    (region,) = json.loads(stored_draft(page) or "{}").get("regions", [{}])
    mask = base64.b64decode(region.get("mask", {}).get("base64", ""))
    return np.asarray(Image.open(io.BytesIO(mask)).convert("L")) if mask else np.zeros((1, 1))


def is_painted(page: Page, across: float) -> bool:
    """In the middle of the strip."""
    mask = stored_mask(page)
    high, wide = mask.shape
    return bool(mask[high // 2, round(across * wide)] > 127)


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """On the frame. Places are shares of its sides."""
    page.locator(".sheet").scroll_into_view_if_needed()
    box = page.locator(".sheet").bounding_box()
    assert box
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=6)
    page.mouse.up()


def test_draw_regions(embedded_stack: RunningStack, page: Page, seen: Seen) -> None:
    window, unit = begin(page, embedded_stack)
    drag(page, (0.01, 0.01), (0.36, 0.98))
    page.get_by_label("Prompt of the region").fill("a lake")
    page.get_by_role("button", name="Box").press("Enter")  # and by keyboard
    page.keyboard.type("sand dunes")
    region = page.get_by_role("button", name="Region 2.")
    region.press("ArrowRight")
    region.press("Shift+ArrowUp")
    for _ in range(window // 4 // unit):
        region.press("ArrowUp")
    expect(page.get_by_label("Top").nth(1)).to_have_value("0")
    page.get_by_role("button", name="Brush").click()
    drag(page, (0.7, 0.2), (0.95, 0.2))
    accessible(page)
    page.get_by_role("button", name="Eraser").click()
    drag(page, (0.6, 0.2), (0.8, 0.2))
    page.get_by_role("button", name="Finish painting").click()
    page.get_by_label("Prompt of the region").nth(2).fill("a calm sea")
    wait_until(lambda: "a calm sea" in stored_draft(page), 30)
    page.reload()  # loses nothing
    expect(page.get_by_label("Prompt of the region").nth(2)).to_have_value("a calm sea")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(re.compile("rolling green hills"))
    page.get_by_role("button", name="Paint on region 3, or erase").click()
    drag(page, (0.9, 0.2), (0.9, 0.9))
    accessible(page)
    page.get_by_role("button", name="Finish painting").click()

    page.get_by_label("Left").nth(0).fill("3")
    page.get_by_role("button", name="Make panorama").click()
    expect(refusal(page, "regions.0.x")).to_contain_text(f"multiples of {unit}")
    page.get_by_label("Left").nth(0).fill("0")
    job_id = make(page)
    box, keyed, painted = params_of(embedded_stack, job_id)["regions"]
    assert (box["prompt"], box["x"], box["y"], box["height"]) == (
        *("a lake", 0, 0),
        window,
    )
    assert 0.34 <= box["width"] / (2 * window) <= 0.41
    assert (keyed["prompt"], keyed["y"], keyed["height"]) == ("sand dunes", 0, window // 2 - unit)
    assert painted["prompt"] == "a calm sea"
    assert painted["mask"]["key"].endswith("/inputs/regions.2.mask.png")
    mask = mask_of(embedded_stack, painted["mask"]["key"])
    high, wide = mask.shape
    of_row = [mask[round(0.2 * high), round(share * wide)] > 127 for share in (0.72, 0.88)]
    assert of_row == [False, True]  # erased, painted
    assert mask[round(0.8 * high), round(0.9 * wide)] > 127  # painted on after the reload
    wait_until_made(page)
    expect(page.get_by_text("a lake; sand dunes; a calm sea")).to_be_visible()
    forgive(seen, "422")


def test_draw_on_a_painted_region(stack: RunningStack, page: Page) -> None:
    open_studio(page, stack)
    expect(page.get_by_role("figure")).to_contain_text("px")
    prompts = page.get_by_label("Prompt of the region")
    finish = page.get_by_role("button", name="Finish painting")
    paint_on = page.get_by_role("button", name="Paint on region 1, or erase")
    page.get_by_role("button", name="Brush").click()
    drag(page, (0.2, 0.5), (0.3, 0.5))
    finish.click()
    prompts.fill("a lake")
    paint_on.press("Enter")
    expect(finish).to_be_focused()  # the button that was pressed is drawn anew
    drag(page, (0.5, 0.5), (0.6, 0.5))
    paint_on.click()  # again: what was just painted stays
    drag(page, (0.8, 0.5), (0.9, 0.5))
    finish.click()
    expect(prompts).to_have_value("a lake")  # and there is one region
    wait_until(lambda: is_painted(page, 0.85), 30)
    assert [is_painted(page, across) for across in (0.25, 0.4, 0.55)] == [True, False, True]
    paint_on.click()
    page.get_by_role("button", name="Remove region 1").click()
    expect(page.get_by_role("button", name="Brush")).to_have_attribute("aria-pressed", "false")
    expect(prompts).to_have_count(0)


def test_draw_on_from_a_picture(embedded_stack: RunningStack, page: Page) -> None:
    grid = grid_of(embedded_stack)
    window, unit = grid
    request = {"prompt": "a mountain lake at dawn", "width": 2 * window, "steps": 6}
    first = embedded_stack.make_panorama(**request)
    open_studio(page, embedded_stack, f"#/panoramas/{first['id']}")
    wait_until_made(page)
    page.get_by_role("button", name="Extend it").click()
    expect(page.get_by_role("figure")).to_contain_text(grid.caption(4))
    expect(page.get_by_label("Left edge, in px")).to_have_value(str(window))
    kept = page.get_by_role("button", name="The picture to extend")
    kept.press("ArrowLeft")
    expect(page.get_by_label("Left edge, in px")).to_have_value(str(window - unit))
    page.get_by_role("spinbutton", name="Steps").fill("6")
    accessible(page)
    job_id = make(page)
    wait_until_made(page)
    wider = picture_of(embedded_stack, f"/panoramas/{job_id}/image")
    assert wider.shape == (window, 4 * window, 3)
    before = picture_of(embedded_stack, f"/panoramas/{first['id']}/image")
    kept_part = wider[:, window - unit : 3 * window - unit].astype(int)
    assert np.abs(kept_part - before).mean() < 12


def test_draw_after_pictures(embedded_stack: RunningStack, page: Page, tmp_path: Path) -> None:
    hill = Image.new("RGB", (400, 300), (120, 170, 230))
    ImageDraw.Draw(hill).polygon([(0, 300), (200, 90), (400, 300)], fill=(40, 90, 40))
    file = tmp_path / "hill.png"
    hill.save(file)
    window, _ = begin(page, embedded_stack)
    choose = page.locator("input[type=file]").first
    choose.set_input_files(file)
    page.get_by_role("button", name="Trace its edges").click()
    lines = page.locator(".traced")
    expect(lines).to_be_visible()
    shown = lines.evaluate(
        "it => it.getContext('2d').getImageData(0, 0, it.width, it.height)"
        ".data.filter((_, i) => i % 4 === 3).filter(Boolean).length"
    )
    assert 100 < shown < 2 * window * window / 4
    choose.set_input_files(file)
    page.get_by_role("button", name="Follow its look").click()
    expect(page.get_by_text("To follow")).to_be_visible()
    choose.set_input_files(FilePayload(name="no.txt", mimeType="text/plain", buffer=b"no picture"))
    expect(page.get_by_text("This file is not a picture")).to_be_visible()
    accessible(page)
    page.get_by_label("Width", exact=True).fill(str(3 * window))  # pictures follow the size
    job_id = make(page)
    params = params_of(embedded_stack, job_id)
    assert params["control"]["type"] == "canny"
    assert params["anchor_image"]["key"]
    wait_until_made(page)
