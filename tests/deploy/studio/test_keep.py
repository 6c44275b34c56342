"""Keep: the gallery, webhook deliveries, keys, and what operators see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from panoweave.core.infra.api_keys import ApiKeys, Scope
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.deploy.admin.tenants import redis_of
from tests.deploy.browser import Seen
from tests.deploy.stack import RunningStack
from tests.deploy.studio.steps import (
    accessible,
    forgive,
    grid_of,
    make,
    open_studio,
    refusal,
    wait_until_made,
)
from tests.processes import wait_until
from tests.receivers import answer, receiving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = 24
SEED = 1_234_567


def test_keep(embedded_stack: RunningStack, page: Page) -> None:
    http = embedded_stack.http
    made = embedded_stack.make_panorama(prompt="sand dunes at sunset", width=256, seed=SEED)
    for number in range(PAGE + 2):
        job = http.post("/panoramas", json={"prompt": f"a hill, number {number}", "steps": 250})
        http.post(f"/panoramas/{job.json()['id']}/cancel")
    newest = http.get("/panoramas?limit=1").json()["items"][0]
    open_studio(page, embedded_stack, "#/gallery")
    cards = page.get_by_role("listitem")
    expect(cards.first).to_contain_text(newest["params"]["prompt"])
    assert cards.count() == PAGE
    accessible(page)
    page.mouse.wheel(0, 20_000)  # the next page comes by itself
    expect(page.get_by_text("a hill, number 0", exact=True)).to_be_visible()

    page.get_by_label("Show", exact=True).select_option("done")
    shown = page.get_by_role("listitem").filter(has_text=f"seed {SEED} ")
    expect(shown).to_be_visible()
    expect(page.get_by_text("a hill, number 0", exact=True)).to_be_hidden()
    picture = shown.locator("img")
    wait_until(lambda: picture.evaluate("it => it.naturalWidth") > 0, 30)

    shown.get_by_role("button", name="Make a variation").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("sand dunes at sunset")
    expect(page.get_by_label("Width", exact=True)).to_have_value("256")
    other = http.get(f"/panoramas/{make(page)}").json()["params"]
    assert (other["prompt"], other["steps"]) == ("sand dunes at sunset", 2)
    assert other["seed"] != SEED
    wait_until_made(page)

    page.get_by_role("link", name="Gallery").click()
    page.get_by_label("Show", exact=True).select_option("done")
    shown.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    expect(shown).to_be_visible()
    shown.get_by_role("button", name="Delete").click()
    accessible(page)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(shown).to_be_hidden()
    assert http.get(f"/panoramas/{made['id']}").status_code == 404


def test_keep_sending_webhooks(embedded_stack: RunningStack, page: Page) -> None:
    with redis_of(embedded_stack.home.root) as redis:
        WebhookSecrets(redis).create("default")
    with receiving(answer(410), answer(200)) as receiver:
        hooked = embedded_stack.make_panorama(width=256, webhook={"url": receiver.url})
        wait_until(lambda: len(receiver.received) == 1, 30)
        open_studio(page, embedded_stack, f"#/panoramas/{hooked['id']}")
        row = page.get_by_role("listitem").filter(has_text="panorama.succeeded")
        expect(row).to_contain_text("gone")
        expect(row).to_contain_text("the receiver answered 410")
        accessible(page)
        page.get_by_role("button", name="Send panorama.succeeded again").click()
        expect(row).to_contain_text("delivered")
    assert len(receiver.received) == 2


@pytest.fixture
def keys(embedded_stack: RunningStack) -> Iterator[dict[Scope, str]]:
    scopes: tuple[Scope, ...] = ("write", "admin")
    with redis_of(embedded_stack.home.root) as redis:
        yield {scope: ApiKeys(redis).create("default", (scope,))[1] for scope in scopes}
    embedded_stack.open_again()


def test_keys(embedded_stack: RunningStack, page: Page, seen: Seen, keys: dict[Scope, str]) -> None:
    open_studio(page, embedded_stack)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Send Authorization: Bearer and an API key.")
    accessible(page)
    dialog.get_by_label("API key").fill("pw_wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("is not known, or was revoked")
    dialog.get_by_label("API key").fill(keys["write"])
    page.keyboard.press("Enter")
    page.get_by_role("button", name="a calm sea at twilight").click()
    window = grid_of(embedded_stack, keys["write"]).window
    page.get_by_label("Width", exact=True).fill(str(window))
    page.get_by_role("spinbutton", name="Steps").fill("4")
    make(page)
    wait_until_made(page)  # its events and its picture were read by a token
    assert any(re.search("/(image|events).*token=pwv_", url) for url in seen.urls)
    page.get_by_text("As code").click()
    assert "$PANOWEAVE_API_KEY" in page.get_by_role("tabpanel").inner_text()

    page.get_by_role("link", name="Service").click()
    expect(page.get_by_text("shown to keys of scope admin")).to_be_visible()
    expect(page.get_by_role("heading", name="What you have used")).to_be_visible()
    accessible(page)
    stored = page.evaluate("[Object.values(localStorage), Object.values(sessionStorage)]")
    assert (keys["write"] in stored[0], keys["write"] in stored[1]) == (False, True)

    page.get_by_role("button", name="Forget key").click()
    dialog.get_by_label("API key").fill(keys["admin"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Workers").first).to_contain_text("ready")
    expect(page.get_by_role("heading", name="Queue, of all tenants")).to_be_visible()
    tried = page.get_by_role("region", name="Try a webhook")
    tried.get_by_label("Tenant").fill("default")
    tried.get_by_label("Address").fill("ftp://example.com/")
    tried.get_by_role("button", name="Send a test webhook").click()
    expect(refusal(page, "url")).to_contain_text("Legal: https://host/path")
    with redis_of(embedded_stack.home.root) as redis:
        WebhookSecrets(redis).create("default")
    with receiving(answer(204)) as receiver:
        tried.get_by_label("Address").fill(receiver.url)
        tried.get_by_role("button", name="Send a test webhook").click()
        expect(tried).to_contain_text("It arrived: the receiver answered 204")
    assert json.loads(receiver.received[0].body)["type"] == "webhook.ping"
    accessible(page)
    assert not [url for url in seen.urls if any(key in url for key in keys.values())]
    other = page.context.browser
    assert other is not None
    fresh = other.new_page()  # a key is of one tab
    fresh.goto(page.url)
    expect(fresh.get_by_role("dialog")).to_be_visible()
    fresh.close()
    forgive(seen, "401", "403", "422")
