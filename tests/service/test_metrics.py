"""What Prometheus sees of the API: the jobs as Redis has them, and this process's requests."""

from __future__ import annotations

import httpx
from pydantic import SecretStr
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.store import JobStore
from panoweave.deploy.local.servers import RedisServer
from tests.jobs.samples import FAILURE, new_record, result_of, start_job
from tests.service.checks import problem
from tests.service.scrape import scrape
from tests.service.server import publish_model, serving


def test_the_jobs_are_shown_as_redis_has_them(
    api: httpx.Client, settings: Settings, store: JobStore
) -> None:
    def started() -> tuple[JobRecord, str]:
        record = start_job(store, store.create(new_record()).id, "worker-1")
        assert record.token is not None
        return record, record.token

    done, token = started()
    store.succeed(done.id, token, result_of(done))
    for _ in range(2):
        record, token = started()
        store.fail(record.id, token, FAILURE)
        store.fail(record.id, token, FAILURE)  # as after a lost reply: it counts once
    record, token = started()
    store.requeue(record.id, token, "preempted")
    store.create(new_record())
    assert store.claim("worker-1", "embedded") is not None
    store.request_cancel(store.create(new_record()).id)
    store.create(new_record(tenant="bob"))

    with serving(settings) as another:  # however many API processes there are
        for each in (api, another):
            shown = scrape(each)
            assert shown["panoweave_redis_up"] == 1
            assert shown["panoweave_jobs_queued"] == 2
            assert shown["panoweave_jobs_unserved"] == 0
            assert shown["panoweave_jobs_running"] == 1
            assert 0 < shown["panoweave_queue_oldest_seconds"] < 60
            assert shown['panoweave_workers{state="ready"}'] == 1
            assert shown['panoweave_workers{state="failed"}'] == 0
            ended = {key: times for key, times in shown.items() if "ended_total" in key and times}
            assert ended == {
                'panoweave_jobs_ended_total{code="",status="succeeded"}': 1,
                'panoweave_jobs_ended_total{code="",status="cancelled"}': 1,
                'panoweave_jobs_ended_total{code="generation_failed",status="failed"}': 2,
            }
            assert shown['panoweave_attempts_requeued_total{reason="preempted"}'] == 1
            assert shown['panoweave_attempts_requeued_total{reason="worker_lost"}'] == 0


def test_requests_are_counted_by_template_and_never_by_what_a_client_wrote(
    settings: Settings, redis: Redis
) -> None:
    publish_model(redis)
    with serving(settings) as api:
        for name in ("one", "two"):
            api.get(f"/panoramas/pano_{name}/image?token=three")
        api.get("/four/five.php")
        api.request("PROPFIND", "/models")
        api.post("/panoramas", json=[])
        text = api.get("/metrics").text
        shown = scrape(api)
    name = "panoweave_http_request_duration_seconds_count"
    assert shown[f'{name}{{method="GET",route="/panoramas/{{job_id}}/image",status="401"}}'] == 2
    assert shown[f'{name}{{method="GET",route="none",status="404"}}'] == 1
    assert shown[f'{name}{{method="other",route="/models",status="405"}}'] == 1
    assert shown[f'{name}{{method="POST",route="/panoramas",status="422"}}'] == 1
    for word in ("one", "two", "three", "four", "five", "PROPFIND"):
        assert word not in text.replace("none", "")


def test_while_redis_is_away_it_says_so(own_redis: RedisServer, settings: Settings) -> None:
    own_redis.child.kill()
    with serving(settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})) as api:
        shown = scrape(api)
        assert shown["panoweave_redis_up"] == 0
        assert "panoweave_jobs_queued" not in shown
        assert any(key.startswith("panoweave_http_request_duration") for key in scrape(api))
        own_redis.start()
        assert scrape(api)["panoweave_redis_up"] == 1


def test_while_redis_is_away_nobody_else_is_let_in(
    own_redis: RedisServer, settings: Settings
) -> None:
    here = settings.model_copy(update={"redis_url": SecretStr(own_redis.url)})
    with connect(here) as redis, serving(here) as api:
        keys = ApiKeys(redis)
        tokens = [keys.create("ada", (scope,))[1] for scope in ("admin", "admin", "write")]
        known, unseen, writer = ({"Authorization": f"Bearer {token}"} for token in tokens)
        scrape(api, **known)
        problem(api.get("/metrics", headers=writer), 403, "forbidden")
        problem(api.get("/metrics"), 401, "unauthorized")
        own_redis.child.kill()
        assert scrape(api, **known)["panoweave_redis_up"] == 0
        for headers in (unseen, writer, {}):
            problem(api.get("/metrics", headers=headers), 503, "store_unavailable")
