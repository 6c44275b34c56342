"""The TypeScript client in a real browser, on a page of another origin than the API's."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.store import JobStore
from tests.deploy.browser import Seen, chromium
from tests.service.client.cutting import serving_requests
from tests.service.client.worker import when_submitted
from tests.service.server import publish_model, serving
from tests.service.steps import PICTURE, finish
from tests.typescript import built

pytestmark = pytest.mark.slow

PROGRAM = """
    async ([url, apiKey]) => {
      const { ApiError, Panoweave } = await import("/index.js");
      const panoweave = new Panoweave({ url, apiKey });
      const seen = [];
      const panorama = await panoweave.make(
        { prompt: "a hill" },
        { onEvent: (event) => seen.push(event.event) },
      );
      const picture = await panoweave.image(panorama.id, { redirect: false });
      const refused = await panoweave.submit({ prompt: "" }).catch((error) => error);
      const { token } = await panoweave.createToken();
      return {
        seen,
        bytes: picture.size,
        refused: refused instanceof ApiError && refused.code,
        request: refused.requestId,
        shown: panoweave.imageUrl(panorama.id, token),
      };
    }
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def page_handler(folder: Path) -> partial[_Quiet]:
    (folder / "index.html").write_text("<!doctype html><link rel=icon href=data:,>")
    return partial(_Quiet, directory=str(folder))


def test_a_page_makes_a_panorama(
    settings: Settings, redis: Redis, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    publish_model(redis)
    _, key = ApiKeys(redis).create("default", ("write",))
    client = built(tmp_path).folder / "node_modules/panoweave-client/dist"
    seen = Seen()
    with (
        serving_requests(page_handler(client)) as origin,
        serving(settings.model_copy(update={"cors_origins": origin})) as api,
        chromium() as browser,
    ):
        page = browser.new_page()
        seen.listen(page)
        page.goto(origin)
        worker = when_submitted(store, lambda job_id: finish(store, objects, job_id))
        made = page.evaluate(PROGRAM, [str(api.base_url).rstrip("/"), key])
        worker.join()
        assert made["seen"] == ["created", "started", "succeeded"]
        assert made["bytes"] == len(PICTURE)
        assert made["refused"] == "invalid_params"
        assert made["request"]
        assert api.get(made["shown"], follow_redirects=True).content == PICTURE
    # The refusal is the one thing that the console names.
    assert [error for error in seen.errors if "422" not in error] == []
