"""The TypeScript client in Node, against the API on a real uvicorn, Redis and S3."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.jobs.samples import FAILURE
from tests.service.client.contract import NOT_SENT, described, recognised
from tests.service.client.cutting import cutting
from tests.service.client.webhooks import SECRET, message, signed
from tests.service.client.worker import when_submitted, with_events
from tests.service.pictures import png
from tests.service.steps import PICTURE, finish, post, start
from tests.typescript import Project, built

pytestmark = pytest.mark.slow

IMPORT = 'import * as client from "panoweave-client";\n'
OPEN = IMPORT + "const panoweave = new client.Panoweave({ retryForS: 5 });\n"
PRINT = "console.log(JSON.stringify(found));\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built(tmp_path_factory.mktemp("typescript"))


def found(project: Project, program: str, url: object, **env: str) -> Any:
    """What the program assigns to `found`."""
    return json.loads(project.run(program + PRINT, {"PANOWEAVE_URL": str(url), **env}))


def test_a_panorama_is_made_and_downloaded(
    project: Project, api: httpx.Client, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    worker = when_submitted(store, lambda job_id: finish(store, objects, job_id))
    program = """
        const seen = [];
        const panorama = await panoweave.make(
          { prompt: "a hill", width: 256, seed: 7 },
          { onEvent: (event) => seen.push(event.event) },
        );
        await panoweave.download(panorama.id, process.env.TARGET);
        const found = { seen, panorama };
    """
    made = found(project, OPEN + program, api.base_url, TARGET=str(tmp_path / "hill.png"))
    worker.join()
    assert made["seen"] == ["created", "started", "succeeded"]
    assert made["panorama"]["params"]["width"] == 256
    assert [file.name for file in tmp_path.iterdir()] == ["hill.png"]
    assert (tmp_path / "hill.png").read_bytes() == PICTURE


def test_errors_say_why(project: Project, api: httpx.Client, store: JobStore) -> None:
    def fail(job_id: str) -> None:
        _, token = start(store, job_id)
        store.fail(job_id, token, FAILURE)

    worker = when_submitted(store, fail)
    program = """
        import { createServer } from "node:http";
        const away = new client.Panoweave({ url: "http://127.0.0.1:9", retryForS: 0 });
        const server = createServer((_, answer) => answer.writeHead(200).end());
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
        const url = `http://127.0.0.1:${server.address().port}`;
        const elsewhere = new client.Panoweave({ url });
        const found = [];
        for (const call of [
          () => panoweave.make({ prompt: "a hill" }),
          () => panoweave.submit({ prompt: "a hill", width: 700 }),
          () => panoweave.submit({ prompt: "a hill", n: 2 }),
          () => panoweave.get("pano_0"),
          () => away.models(),
          () => away.watch("pano_0").next(),
          () => elsewhere.models(),
          () => elsewhere.watch("pano_0").next(),
          async () => new client.Panoweave({ url: "127.0.0.1:8000" }),
        ]) {
          const error = await call().catch((error) => error);
          found.push({ name: error.name, text: error.message, ...error });
        }
        server.closeAllConnections();
        server.close();
    """
    failed, refused, several, unknown, *others = found(project, OPEN + program, api.base_url)
    worker.join()
    assert (failed["name"], failed["code"]) == ("PanoramaFailed", FAILURE.code)
    assert failed["retryable"] == FAILURE.retryable
    assert (refused["name"], refused["status"], refused["code"]) == (
        *("ApiError", 422, "invalid_params"),
    )
    (error,) = refused["errors"]
    assert error["field"] == "width"
    assert "672 or 704" in error["legal"]
    assert error["legal"] in refused["text"]
    assert refused["requestId"]
    assert "submitBatch" in several["text"]
    assert unknown["code"] == "not_found"
    assert [each["name"] for each in others] == [
        *["ConnectionFailed"] * 2,
        *["UnexpectedAnswer"] * 2,
        "RangeError",
    ]


def test_an_answer_that_gets_lost_makes_no_second_panorama(
    project: Project, api: httpx.Client, store: JobStore
) -> None:
    program = 'const found = (await panoweave.submit({ prompt: "a hill" })).id;'
    with cutting(api, [0]) as url:
        made = found(project, OPEN + program, url)
    assert [record.id for record in store.list("default").records] == [made]


def test_a_silent_stream_is_kept_open(
    project: Project, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    job_id = post(api)
    program = f"""
        const found = [];
        for await (const event of panoweave.watch("{job_id}")) {{
          found.push(event.event);
          if (found.length === 1) {{
            await new Promise((resolve) => setTimeout(resolve, 500));
            await panoweave.cancel("{job_id}");
          }}
        }}
    """
    assert found(project, OPEN + program, api.base_url) == ["created", "cancelled"]


def test_events_go_on_after_lost_connections(
    project: Project, api: httpx.Client, store: JobStore
) -> None:
    job_id = with_events(store, post(api))
    program = f"""
        const found = [];
        for await (const event of panoweave.watch("{job_id}")) found.push(event);
    """
    whole = found(project, OPEN + program, api.base_url)
    assert [event["event"] for event in whole] == [
        *("created", "started", "progress", "progress", "progress", "failed"),
    ]
    assert whole[2]["progress"]["total_steps"] == 50
    with cutting(api, [0, 1_000, 1_200]) as url:
        assert found(project, OPEN + program, url) == whole


def test_a_download_that_breaks_off_is_fetched_again(
    project: Project, api: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    job_id = post(api)
    finish(store, objects, job_id)
    program = f"""
        const picture = await panoweave.image("{job_id}", {{ redirect: false }});
        const found = picture.size;
    """
    with cutting(api, [len(PICTURE) // 2 + 500]) as url:
        assert found(project, OPEN + program, url) == len(PICTURE)


def test_a_file_may_take_long_while_bytes_arrive(project: Project, api: httpx.Client) -> None:
    program = """
        import { createServer } from "node:http";
        // The client's time limits are a fiftieth of what they are.
        const { setTimeout: later } = globalThis;
        const { timeout } = AbortSignal;
        globalThis.setTimeout = (work, ms, ...more) => later(work, ms / 50, ...more);
        AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 50);
        const server = createServer(async ({ url }, response) => {
          response.writeHead(200, { "Content-Type": "image/png" });
          for (let piece = 0; piece < (url.includes("silent") ? 1 : 10); piece += 1) {
            response.write("piece");
            await new Promise((resolve) => later(resolve, 120));
          }
          if (!url.includes("silent")) response.end();
        });
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
        const url = `http://127.0.0.1:${server.address().port}`;
        const panoweave = new client.Panoweave({ url, retryForS: 0 });
        const picture = await panoweave.image("slow");
        const error = await panoweave.image("silent").catch((error) => error);
        const found = [picture.size, picture.type, error.name, error.message];
        server.closeAllConnections();
        server.close();
    """
    size, kind, name, message = found(project, IMPORT + program, api.base_url)
    assert (size, kind) == (50, "image/png")
    assert name == "ConnectionFailed"
    assert "silent for 30 s" in message


def test_events_are_read_as_the_standard_says(project: Project, api: httpx.Client) -> None:
    program = r"""
        import { parseEvents } from "./node_modules/panoweave-client/dist/events.js";
        const text = ": x\nretry: 5\nevent: lost\n\nid: 1\ndata: {\ndata: }\n\ndata: {}\n\nid: 2\n";
        const found = [];
        for await (const event of parseEvents(new Blob([text]).stream(), () => {})) {
          found.push(event);
        }
    """
    assert found(project, program, api.base_url) == [{"id": "1", "event": "message"}] * 2


def test_a_batch_an_upload_and_a_list(project: Project, api: httpx.Client) -> None:
    program = """
        const batch = await panoweave.submitBatch({ prompt: "a hill", seed: 7, n: 3 });
        const picture = Uint8Array.from(atob(process.env.PICTURE), (each) => each.charCodeAt(0));
        const anchor_image = await panoweave.upload(picture);
        const panorama = await panoweave.submit({ prompt: "a hill", anchor_image });
        const listed = [];
        for await (const each of panoweave.list({ limit: 3 })) listed.push(each.id);
        const found = { batch, panorama, listed };
    """
    picture = base64.b64encode(png((128, 128))).decode()
    made = found(project, OPEN + program, api.base_url, PICTURE=picture)
    assert [each["params"]["seed"] for each in made["batch"]] == [7, 8, 9]
    assert made["panorama"]["params"]["anchor_image"]["key"]
    ids = {made["panorama"]["id"], *(each["id"] for each in made["batch"])}
    assert len(made["listed"]) == 4
    assert set(made["listed"]) == ids


def test_the_key_goes_to_the_service_only(project: Project, api: httpx.Client) -> None:
    """The address of the service redirects to another origin, as the API does to S3."""
    program = """
        import { createServer } from "node:http";
        const listen = (answer) => new Promise((resolve) => {
          const server = createServer(answer).listen(0, "127.0.0.1", () => resolve(server));
        });
        const keys = [];
        const store = await listen((request, response) => {
          keys.push(request.headers.authorization ?? null);
          response.end("picture");
        });
        const service = await listen((request, response) => {
          keys.push(request.headers.authorization ?? null);
          response.writeHead(307, { Location: `http://127.0.0.1:${store.address().port}/` }).end();
        });
        const url = `http://127.0.0.1:${service.address().port}`;
        const picture = await new client.Panoweave({ url, apiKey: "pw_1" }).image("pano_1");
        const found = { keys, text: await picture.text() };
        for (const each of [store, service]) { each.closeAllConnections(); each.close(); }
    """
    assert found(project, IMPORT + program, api.base_url) == {
        "keys": ["Bearer pw_1", None],
        "text": "picture",
    }


def test_a_webhook_is_used_only_with_its_signature(project: Project, api: httpx.Client) -> None:
    body, now = json.dumps(message()), datetime.now(UTC)
    old = datetime.fromtimestamp(now.timestamp() - 3_600, UTC)
    good = signed(body, now)
    cases: list[tuple[str, dict[str, str]]] = [
        (body, good),
        (body, good | {"Webhook-Signature": f"v1a,x {good['Webhook-Signature']}"}),
        (body.replace("pano_1", "pano_2"), good),
        (body, signed(body, old)),
        (body, {}),
        (body, good | {"Webhook-Signature": "v1,not base64"}),
        (body, good | {"Webhook-Signature": "nonsense"}),
        (body, good | {"Webhook-Timestamp": "now"}),
    ]
    program = """
        const found = [];
        for (const [body, headers] of JSON.parse(process.env.CASES)) {
          for (const given of [headers, new Headers(headers)]) {
            const verified = client.verifyWebhook(body, given, process.env.SECRET);
            found.push(await verified.then((got) => got.data.id, (error) => error.name));
          }
        }
    """
    verified = found(
        project, IMPORT + program, api.base_url, CASES=json.dumps(cases), SECRET=SECRET
    )
    assert verified == ["pano_1"] * 4 + ["WebhookRefused"] * 12


def test_the_types_are_those_of_the_contract(project: Project) -> None:
    (project.folder / "types.mts").write_text("""
        import { ApiError, Panoweave, type PanoramaView, type ProblemCode } from "panoweave-client";

        const panoweave = new Panoweave({ apiKey: "pw_1" });
        const panorama: PanoramaView = await panoweave.make(
          { prompt: "a hill", preset: "fast", regions: [{ prompt: "a tree", x: 0, width: 128 }] },
          { idempotencyKey: "order-7", onEvent: (event) => console.log(event.progress?.fraction) },
        );
        const side: number | undefined = panorama.result?.width;
        const code: ProblemCode = "a code of a newer service";
        for await (const each of panoweave.list({ status: ["failed"], limit: 5 })) {
          console.log(each.error?.retryable, each.params.prompt, side, code);
        }
        // @ts-expect-error: there is no such field
        await panoweave.submit({ prompt: "a hill", widht: 256 });
        // @ts-expect-error: nor such a preset
        await panoweave.submit({ prompt: "a hill", preset: "faster" });
        // @ts-expect-error: a request has a prompt
        await panoweave.submit({ width: 256 });
    """)
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    options += ["--lib", "es2023,dom,dom.iterable", "--typeRoots", "none"]
    compiler = "node_modules/panoweave-client/node_modules/typescript/bin/tsc"
    command = ["node", compiler, *options, "types.mts"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.stdout == ""


def test_every_operation_and_parameter_can_be_sent(
    project: Project, api: httpx.Client, redis: Redis, store: JobStore, objects: ObjectStore
) -> None:
    WebhookSecrets(redis).create("default")
    done = post(api)
    finish(store, objects, done)
    failed = post(api, webhook={"url": "https://example.com/", "events": ["panorama.failed"]})
    _, worker = start(store, failed)
    store.fail(failed, worker, FAILURE)
    program = """
        const sent = [];
        const real = globalThis.fetch;
        globalThis.fetch = (url, request) => {
          sent.push([request.method ?? "GET", String(url), [...request.headers.keys()]]);
          return real(url, request);
        };
        const { DONE, FAILED } = process.env;
        const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
        await panoweave.submit({ prompt: "a hill" }, { waitS: 0, traceparent });
        const { token } = await panoweave.createToken();
        await panoweave.get(DONE, { waitS: 0 });
        await panoweave.image(DONE, { redirect: false, token });
        await panoweave.preview(DONE, { redirect: false, token });
        for await (const _ of panoweave.watch(DONE, { lastEventId: "1-0", token }));
        const query = {
          status: ["succeeded", "failed"],
          created_after: "2026-11-26T11:02:26Z",
          created_before: "2026-11-27T11:02:26Z",
          metadata: ["order:7"],
          limit: 1,
          cursor: DONE,
          total: true,
          batch_id: process.env.BATCH,
        };
        await panoweave.listPage(query);
        await panoweave.listTenantPage("default", query);
        await panoweave.cancelOfTenant("default", DONE);
        const made = await panoweave.createKey({ tenant: "default", scopes: ["read"] });
        const address = { tenant: "default", url: "https://example.com/" };
        const ping = await panoweave.pingWebhook(address, { waitS: 0 });
        await panoweave.webhookPing(ping.id);
        await panoweave.keys();
        await panoweave.revokeKey(made.id);
        await panoweave.delete(DONE);
        const { items: [delivery] } = await panoweave.deliveries(FAILED);
        await panoweave.redeliver(FAILED, { id: [delivery.id] });
        await panoweave.retry(FAILED);
        await panoweave.cancel(FAILED);
        await panoweave.upload(new Uint8Array(1)).catch((error) => error);
        const { items: [model] } = await panoweave.models();
        await panoweave.scaling(model.model, { seconds_per_worker: 60 });
        await panoweave.usage({ by: "month" });
        await panoweave.livez();
        await panoweave.readyz();
        await panoweave.status();
        const shown = await real(panoweave.imageUrl(DONE, token));
        const found = { sent, shown: shown.status, metrics: await panoweave.metrics() };
    """
    _, key = ApiKeys(redis).create("default", ("admin",))
    done_all = found(
        project,
        OPEN + program,
        api.base_url,
        PANOWEAVE_API_KEY=key,
        DONE=done,
        FAILED=failed,
        BATCH="batch_01m8ez2cxbqcnh8w1er8y7m726",
    )
    sent = [
        httpx.Request(method, url, headers=dict.fromkeys(names, ""))
        for method, url, names in done_all["sent"]
    ]
    document = api.get("/openapi.json").json()
    by_fetch = {("get_metrics", "accept")}  # `fetch` adds it
    assert described(document) - NOT_SENT - by_fetch == recognised(document, sent) - by_fetch
    assert done_all["shown"] == 404  # it was deleted, and the token was taken
    assert "panoweave" in done_all["metrics"]
