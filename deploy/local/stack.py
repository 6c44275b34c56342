"""The whole stack on one machine: Redis, S3, janitor, worker and API on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from panoweave.core.infra.urls import is_loopback
from panoweave.deploy.errors import StackFailed
from panoweave.deploy.local.child import Child
from panoweave.deploy.local.commands import panoweave
from panoweave.deploy.local.data_dir import DataDir, Ports, StackState
from panoweave.deploy.local.ports import LOOPBACK, free_port, is_free, require_free, url_of
from panoweave.deploy.local.servers import STOP_GRACE_S, RedisServer, S3Server, s3_port_is_free
from panoweave.deploy.local.supervisor import Say, Supervisor

if TYPE_CHECKING:
    from panoweave.core.infra.settings import Settings

_WORKER_GRACE_S = 120.0  # it ends the step that it computes, and puts the job back in the queue
_GRACE_S = 20.0
_GIVE_UP_AFTER_DEATHS = 3
LONGEST_STOP_S = _WORKER_GRACE_S + 2 * _GRACE_S + 2 * STOP_GRACE_S

StopAsked = Callable[[float], bool]  # waits so many seconds; True as soon as a stop is asked for


def _anonymous(settings: Settings) -> str:
    """On, unless the caller says otherwise."""
    if "anonymous" in settings.model_fields_set:
        return settings.anonymous
    return "loopback" if is_loopback(settings.host) else "off"


def _kept_ports(home: DataDir, say: Say) -> tuple[int | None, int | None]:
    """The ports that Redis and S3 had the last time, where they are free."""
    kept = home.ports()
    if kept is None:
        return None, None
    if not s3_port_is_free(kept.s3):
        say(f"port {kept.s3}, which S3 had, is taken: URLs handed out before lead nowhere")
    return (
        kept.redis if is_free(kept.redis) else None,
        kept.s3 if s3_port_is_free(kept.s3) else None,
    )


class Stack:
    """One stack on one data directory, which the caller holds."""

    def __init__(self, home: DataDir, settings: Settings, say: Say) -> None:
        self._home = home
        self._supervisor = Supervisor(say)
        self._begun_at = datetime.now(UTC)
        credentials = home.credentials()
        redis_port, s3_port = _kept_ports(home, say)
        self._redis = RedisServer(
            home.redis, home.logs, port=redis_port, password=credentials.redis_password
        )
        self._s3 = S3Server(
            home.s3,
            home.logs,
            bucket=settings.s3_bucket,
            access_key_id=credentials.s3_access_key_id,
            secret_access_key=credentials.s3_secret_access_key,
            port=s3_port,
        )
        home.keep_ports(Ports(redis=self._redis.port, s3=self._s3.port))
        self.environment = {  # of panoweave's processes, beside this one's own
            "PANOWEAVE_REDIS_URL": self._redis.url,
            "PANOWEAVE_S3_ENDPOINT": self._s3.endpoint,
            "PANOWEAVE_S3_PUBLIC_ENDPOINT": settings.s3_public_endpoint or self._s3.endpoint,
            "PANOWEAVE_S3_BUCKET": settings.s3_bucket,
            "PANOWEAVE_S3_ACCESS_KEY_ID": credentials.s3_access_key_id,
            "PANOWEAVE_S3_SECRET_ACCESS_KEY": credentials.s3_secret_access_key,
            "PANOWEAVE_HOST": settings.host,
            "PANOWEAVE_ANONYMOUS": _anonymous(settings),
            "PANOWEAVE_PORT": str(settings.port),
        }
        self._settings = settings.model_copy(update={"redis_url": SecretStr(self._redis.url)})
        self._metrics_ports = {"worker": free_port(), "janitor": free_port()}
        self.api_url = url_of(settings.host, settings.port)
        self.metrics_urls = [
            f"{self.api_url}/metrics",
            *(f"{url_of(LOOPBACK, port)}/metrics" for port in self._metrics_ports.values()),
        ]
        self.s3_endpoint = self._s3.endpoint

    def start(self, stop_asked: StopAsked) -> bool:
        """Start the servers, each once the one before it answers, then panoweave's processes.

        False where a stop was asked for meanwhile. `stop` ends them in reverse order.
        """
        require_free(self._settings.port, self._settings.host)
        for server in (self._redis, self._s3):
            self._supervisor.start(server.child)
            if not server.wait_until_ready(stop_asked):
                return False
        self._home.publish_env(self.environment)
        self._supervisor.start(self._child("janitor", _GRACE_S))
        self._supervisor.start(self._child("worker", _WORKER_GRACE_S))
        self._supervisor.start(self._child("api", _GRACE_S))
        self._publish(ready=False)
        return True

    def wait_until_ready(self, stop_asked: StopAsked, show: Say) -> bool:
        """False where a stop was asked for meanwhile. `show` is given what is waited for."""
        while not stop_asked(0.2):
            self.tend(ready=False)
            self._give_up_on_the_dying()
            waiting_for = [what for what in (self._api_wants(), self._worker_wants()) if what]
            if not waiting_for:
                self._publish(ready=True)
                return True
            show(f"waiting for {' and '.join(waiting_for)}")
        return False

    def tend(self, *, ready: bool = True) -> None:
        if self._supervisor.tend():
            self._publish(ready=ready)

    def stop(self, in_a_hurry: Callable[[], bool]) -> None:
        self._supervisor.stop(in_a_hurry)

    def _child(self, name: str, grace_s: float) -> Child:
        env = {**os.environ, **self.environment}
        if name in self._metrics_ports:
            env |= {
                "PANOWEAVE_METRICS_HOST": LOOPBACK,
                "PANOWEAVE_METRICS_PORT": str(self._metrics_ports[name]),
            }
        log = self._home.logs / f"{name}.log"
        return Child(name, panoweave(name), env, log, grace_s=grace_s)

    def _publish(self, *, ready: bool) -> None:
        self._home.publish(
            StackState(
                pid=os.getpid(),
                api_url=self.api_url,
                ready=ready,
                children=self._supervisor.pids(),
            )
        )

    def _api_wants(self) -> str | None:
        try:
            ready = httpx.get(f"{self.api_url}/readyz", timeout=2).is_success
        except httpx.TransportError:
            ready = False
        return None if ready else "the API"

    def _worker_wants(self) -> str | None:
        from panoweave.core.infra.errors import StoreUnavailable
        from panoweave.core.infra.redis import connect
        from panoweave.core.jobs import models

        try:
            with connect(self._settings) as redis:
                state = models.get(redis, self._settings.model)
        except StoreUnavailable:
            return "Redis"
        if state is None or state.updated_at < self._begun_at:
            return "the worker"  # no state yet, or that of an earlier stack's worker
        if state.state == "failed":
            raise StackFailed(
                f"the worker cannot load the model {state.model}: {state.detail}",
                "correct PANOWEAVE_MODEL, PANOWEAVE_PERCEPTUAL or PANOWEAVE_DEVICE; `panoweave "
                "doctor` checks them",
            )
        return None if state.state == "ready" else f"the worker to load the model {state.model}"

    def _give_up_on_the_dying(self) -> None:
        child = self._supervisor.dying_again_and_again(_GIVE_UP_AFTER_DEATHS)
        if child is not None:
            raise StackFailed(
                f"{child.name} ended {_GIVE_UP_AFTER_DEATHS} times while the stack started; "
                f"its log ends with:\n{child.log_tail()}",
                f"the whole log: {child.log}",
            )
