"""Following a panorama: server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import events
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
from tests.jobs.samples import FAILURE, new_record, progress, start_job
from tests.service.checks import at_fault, problem
from tests.service.server import serving

_FOLLOWERS = 300  # many more than the 40 threads of anyio's pool


class Seen(NamedTuple):
    id: str
    type: str
    data: dict[str, object]


@contextmanager
def following(api: httpx.Client, job_id: str, after: str | None = None) -> Iterator[Iterator[Seen]]:
    headers = {} if after is None else {"Last-Event-ID": after}
    with api.stream("GET", f"/panoramas/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parse(answer.iter_lines())


def _parse(lines: Iterator[str]) -> Iterator[Seen]:
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Seen(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


def running(store: JobStore) -> tuple[str, str]:
    record = start_job(store, store.create(new_record()).id, "worker-1")
    assert record.token is not None
    return record.id, record.token


def test_a_panorama_is_followed_from_its_beginning_to_its_end(
    api: httpx.Client, store: JobStore
) -> None:
    """Past events come at once, later ones as they happen, and then the stream ends."""
    job_id, token = running(store)
    with following(api, job_id) as stream:
        assert [next(stream).type for _ in range(2)] == ["created", "started"]
        for step in (1, 2):
            store.report(job_id, token, progress(step))
            seen = next(stream)
            assert (seen.type, seen.data["status"]) == ("progress", "running")
            assert seen.data["progress"] == progress(step).model_dump(mode="json")
        store.requeue(job_id, token, "preempted")
        assert next(stream).data["reason"] == "preempted"
        record = start_job(store, job_id, "worker-2")
        assert record.token is not None
        assert next(stream).data["attempt"] == 2
        store.fail(job_id, record.token, FAILURE)
        assert [(seen.type, seen.data["status"]) for seen in stream] == [("failed", "failed")]


def test_it_goes_on_without_a_gap_and_without_a_repeat(
    api: httpx.Client, store: JobStore, redis: Redis
) -> None:
    job_id, token = running(store)
    for step in range(1, 120):
        store.report(job_id, token, progress(step, 120))
    seen: list[Seen] = []
    for _ in range(3):
        with following(api, job_id, seen[-1].id if seen else None) as stream:
            seen += [next(stream) for _ in range(37)]
        store.report(job_id, token, progress(119, 120))
    store.fail(job_id, token, FAILURE)
    with following(api, job_id, seen[-1].id) as stream:
        seen += stream
    everything = events.read(redis, job_id, limit=1_000)
    assert [one.id for one in seen] == [event.id for event in everything]


def test_who_has_seen_the_end_is_not_sent_again(api: httpx.Client, store: JobStore) -> None:
    """204 stops a browser, which would reconnect for ever."""
    job_id, token = running(store)
    store.fail(job_id, token, FAILURE)
    with following(api, job_id) as stream:
        last = list(stream)[-1]
    answer = api.get(f"/panoramas/{job_id}/events", headers={"Last-Event-ID": last.id})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_deleted_panorama_ends_its_streams(api: httpx.Client, store: JobStore) -> None:
    job_id, token = running(store)
    store.fail(job_id, token, FAILURE)
    with following(api, job_id) as stream:
        assert list(stream)[-1].type == "failed"
    assert api.delete(f"/panoramas/{job_id}").status_code == 204
    problem(api.get(f"/panoramas/{job_id}/events"), 404, "not_found")


@pytest.mark.parametrize("last", ["x", "1", "-1", "1-1-1", f"1-{2**64}"])
def test_an_id_that_is_none_is_refused(api: httpx.Client, store: JobStore, last: str) -> None:
    job_id, _ = running(store)
    answer = api.get(f"/panoramas/{job_id}/events", headers={"Last-Event-ID": last})
    assert at_fault(answer)["field"] == "last-event-id"


def test_another_tenants_panorama_is_not_followed(api: httpx.Client, store: JobStore) -> None:
    record = store.create(new_record(tenant="another"))
    problem(api.get(f"/panoramas/{record.id}/events"), 404, "not_found")


def test_hundreds_follow_without_a_thread_each(api: httpx.Client, store: JobStore) -> None:
    job_id, token = running(store)
    threads_before = threading.active_count()

    async def follow_all() -> tuple[int, int]:
        streams = []
        for _ in range(_FOLLOWERS):
            reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
            writer.write(
                f"GET /panoramas/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            streams.append((reader, writer))
        for reader, _ in streams:
            await reader.readuntil(b"event: started")
        threads = threading.active_count()
        store.report(job_id, token, progress(7))
        for reader, _ in streams:
            await asyncio.wait_for(reader.readuntil(b'"step":7'), 30)
        store.fail(job_id, token, FAILURE)
        ended = 0
        for reader, writer in streams:
            rest = await asyncio.wait_for(reader.readuntil(b"event: failed"), 30)
            ended += rest.endswith(b"event: failed")
            writer.close()
        return threads, ended

    threads, ended = asyncio.run(follow_all())
    assert ended == _FOLLOWERS
    assert threads <= threads_before + 45  # anyio's pool has 40


def test_a_stream_outlives_redis(tmp_path: Path, settings: Settings) -> None:
    with RedisServer(tmp_path / "data", tmp_path / "logs") as server:
        here = settings.model_copy(update={"redis_url": SecretStr(server.url)})
        with connect(here) as redis, serving(here) as api:
            store = JobStore(redis, here)
            job_id, token = running(store)
            with following(api, job_id) as stream:
                assert [next(stream).type for _ in range(2)] == ["created", "started"]
                redis.config_set("appendfsync", "always")
                store.report(job_id, token, progress(1))
                assert next(stream).type == "progress"
                server.child.kill()
                server.start()
                store.fail(job_id, token, FAILURE)
                assert next(stream).type == "failed"
