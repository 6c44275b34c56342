"""Redis goes, comes back, or was never there; and no job is lost between record and queue."""

from __future__ import annotations

from collections.abc import Callable
from shutil import rmtree

import pytest
from pydantic import SecretStr
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
from panoweave.service import dependencies
from tests.processes import wait_until
from tests.service.checks import problem
from tests.service.pictures import inline, png
from tests.service.server import publish_model, serving
from tests.service.steps import post


def publish_in(server: RedisServer) -> None:
    with Redis.from_url(server.url) as redis:
        publish_model(redis)


def test_redis_goes_and_comes_back(own_redis: RedisServer, settings: Settings) -> None:
    publish_in(own_redis)
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    with serving(here) as api, Redis.from_url(own_redis.url) as redis:
        redis.config_set("appendfsync", "always")
        job_id = api.post("/panoramas", json={"prompt": "a hill"}).json()["id"]
        assert api.get("/readyz").status_code == 200
        own_redis.child.kill()
        for method, path, body in (
            ("POST", "/panoramas", {"prompt": "a hill"}),
            ("GET", "/panoramas", None),
            ("GET", f"/panoramas/{job_id}", None),
            ("POST", f"/panoramas/{job_id}/cancel", None),
            ("GET", "/models", None),
            ("GET", "/readyz", None),
        ):
            answer = api.request(method, path, json=body)
            problem(answer, 503, "store_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert api.get("/livez").json() == {"status": "alive"}
        own_redis.start()
        assert api.get("/readyz").json() == {"status": "ready"}
        assert api.get(f"/panoramas/{job_id}").json()["status"] == "queued"
        assert api.post("/panoramas", json={"prompt": "a hill"}).status_code == 202


def test_the_api_starts_without_redis(own_redis: RedisServer, settings: Settings) -> None:
    own_redis.child.kill()
    with serving(settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})) as api:
        problem(api.get("/readyz"), 503, "store_unavailable")
        own_redis.start()
        assert api.get("/readyz").status_code == 200


def test_a_redis_that_hangs_is_not_waited_for(own_redis: RedisServer, settings: Settings) -> None:
    """It answers nobody before this test has its answer."""
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    with serving(here) as api, Redis.from_url(own_redis.url) as other:
        other.client_pause(600_000)
        assert dependencies._REDIS_TIMEOUT_S <= 1
        problem(api.get("/readyz"), 503, "store_unavailable")


def test_a_full_redis_takes_no_half_made_job(own_redis: RedisServer, settings: Settings) -> None:
    publish_in(own_redis)
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    with serving(here) as api, Redis.from_url(own_redis.url) as redis:
        redis.config_set("maxmemory", 1)
        problem(api.post("/panoramas", json={"prompt": "x"}), 503, "store_unavailable")
        redis.config_set("maxmemory", 0)
        assert api.get("/panoramas").json()["items"] == []
        assert api.post("/panoramas", json={"prompt": "x"}).status_code == 202


def _fail_to_save(redis: Redis) -> None:
    """As a full disk makes it: MISCONF, and not even PING is answered."""
    redis.config_set("save", "1000 100000")
    rmtree(str(redis.config_get("dir")["dir"]))
    redis.bgsave()
    wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err", 10)


@pytest.mark.parametrize(
    ("refuse", "accept"),
    [
        (lambda redis: redis.config_set("maxmemory", 1), {"maxmemory": 0}),
        (lambda redis: redis.config_set("min-replicas-to-write", 1), {"min-replicas-to-write": 0}),
        (_fail_to_save, {"stop-writes-on-bgsave-error": "no"}),
    ],
    ids=["full", "without replicas", "with a broken disk"],
)
def test_a_redis_that_refuses_writes_answers_reads(
    own_redis: RedisServer,
    settings: Settings,
    refuse: Callable[[Redis], None],
    accept: dict[str, str | int],
) -> None:
    """Although reads are counted, and tidy up what they find."""
    publish_in(own_redis)
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    with serving(here) as api, Redis.from_url(own_redis.url) as redis:
        job_id = post(api)
        url = f"/panoramas/{job_id}"
        redis.sadd(redis_keys.WORKERS, "has-ended")
        redis.zrem(f"{redis_keys.QUEUED_OF}embedded", job_id)
        refuse(redis)
        for path in (url, "/panoramas?total=true", "/models", "/usage", "/status", "/readyz"):
            assert api.get(path).status_code == 200, path
        assert "panoweave_redis_up 1.0" in api.get("/metrics").text
        with api.stream("GET", f"{url}/events") as answer:
            lines = (line for line in answer.iter_lines() if line.startswith(("event", ": ping")))
            assert next(lines) == "event: created"
        for written in ("/panoramas", "/uploads"):
            problem(api.post(written, json={"prompt": "a hill"}), 503, "store_unavailable")
        for name, value in accept.items():
            redis.config_set(name, value)
        post(api)
        assert api.get("/metrics").status_code == 200
        assert not redis.sismember(redis_keys.WORKERS, "has-ended")
        assert redis.zcard(f"{redis_keys.QUEUED_OF}embedded") == 2


def test_a_full_redis_keeps_no_picture_of_what_it_refused(
    own_redis: RedisServer, settings: Settings, objects: ObjectStore
) -> None:
    publish_in(own_redis)
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    asked = {"prompt": "x", "anchor_image": inline(png())}
    with serving(here) as api, Redis.from_url(own_redis.url) as redis:
        redis.config_set("maxmemory", 1)
        problem(api.post("/panoramas", json=asked), 503, "store_unavailable")
        assert objects.list("") == []
        redis.config_set("maxmemory", 0)
        assert api.post("/panoramas", json=asked).status_code == 202
        assert len(objects.list("")) == 1
        assert redis.zcard(redis_keys.ORPHANS) == 0


def test_a_job_that_was_recorded_but_got_no_turn_is_accepted_and_made(
    own_redis: RedisServer, settings: Settings
) -> None:
    """The API's Redis user may run the record's script but push to no list."""
    publish_in(own_redis)
    with Redis.from_url(own_redis.url) as redis:
        redis.acl_setuser(
            "api", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-rpush"]
        )
        url = f"redis://api:any@127.0.0.1:{own_redis.port}/0"
        with serving(settings.model_copy(update={"redis_url": SecretStr(url)})) as api:
            answer = api.post("/panoramas", json={"prompt": "a hill"})
        assert answer.status_code == 202
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    with connect(here) as redis:
        queue = Queue(redis)
        assert queue.tickets("embedded").count == 0
        queue.top_up()
        assert queue.tickets("embedded").count == 1
        found = JobStore(redis, here).claim("worker-1", "embedded")
    assert found is not None
    assert found.id == answer.json()["id"]


def test_no_picture_is_needed_to_answer_while_s3_is_away(settings: Settings, redis: Redis) -> None:
    away = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    redis.ping()
    with serving(away) as api:
        assert api.get("/panoramas").status_code == 200
        assert api.get("/readyz").status_code == 200


def test_redis_dies_between_record_and_queue(
    own_redis: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken in is taken in: a 503 would make the client post it again, and both would be made."""
    publish_in(own_redis)
    top_up = Queue.top_up

    def die_first(queue: Queue) -> None:
        own_redis.child.kill()
        top_up(queue)

    monkeypatch.setattr(Queue, "top_up", die_first)
    with serving(settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})) as api:
        answer = api.post("/panoramas", json={"prompt": "a hill"})
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer.json()["queue_position"] is None
