"""The stack's data directory: its files, its lock and its credentials.

- redis/, s3/: the data of the two servers
- logs/: a log file for each process
- credentials.json: written once, readable by the owner alone
- ports.json: the ports of the two servers, kept so that presigned URLs survive a restart
- stack.env: settings of the running stack, for a shell: `set -a; . var/stack.env`
- state.json: the running stack's address and process ids
- lock: held while a `panoweave up` runs here
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from panoweave.deploy.errors import StackAlreadyRunning

_OWNER_ONLY = 0o600


class Credentials(BaseModel):
    """How the stack's processes authenticate to Redis and S3. Random, for this directory only."""

    redis_password: str
    s3_access_key_id: str
    s3_secret_access_key: str


class Ports(BaseModel):
    redis: int
    s3: int


class StackState(BaseModel):
    """The running stack, as `demo`, `doctor` and other programs read it."""

    pid: int
    api_url: str
    ready: bool
    children: dict[str, int]


class DataDir:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.redis = self.root / "redis"
        self.s3 = self.root / "s3"
        self.logs = self.root / "logs"
        self._credentials_file = self.root / "credentials.json"
        self._ports_file = self.root / "ports.json"
        self._state_file = self.root / "state.json"
        self._lock_file = self.root / "lock"
        self.env_file = self.root / "stack.env"

    def prepare(self) -> None:
        """Create the directory, for its owner alone: it will hold prompts and pictures."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the directory for one stack. The kernel releases the lock of a process that dies."""
        self.prepare()
        with self._lock_file.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._already_running() from error
            self._remove_run_files()  # those of a stack that was killed
            try:
                yield
            finally:
                self._remove_run_files()

    def running(self) -> StackState | None:
        """The stack that holds this directory now, once it has published its state."""
        if not self._state_file.exists():
            return None
        with self._lock_file.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return StackState.model_validate_json(self._state_file.read_text())
        return None  # left behind by a stack that was killed

    def credentials(self) -> Credentials:
        if self._credentials_file.exists():
            return Credentials.model_validate_json(self._credentials_file.read_text())
        made = Credentials(
            redis_password=secrets.token_hex(24),  # it becomes part of a URL
            s3_access_key_id=f"panoweave{secrets.token_hex(4)}",
            s3_secret_access_key=secrets.token_urlsafe(30),
        )
        _write_privately(self._credentials_file, made.model_dump_json(indent=2) + "\n")
        return made

    def ports(self) -> Ports | None:
        """Those of the last stack here, if there was one."""
        if not self._ports_file.exists():
            return None
        return Ports.model_validate_json(self._ports_file.read_text())

    def keep_ports(self, ports: Ports) -> None:
        _write_privately(self._ports_file, ports.model_dump_json(indent=2) + "\n")

    def publish(self, state: StackState) -> None:
        _write_privately(self._state_file, state.model_dump_json(indent=2) + "\n")

    def publish_env(self, env: Mapping[str, str]) -> None:
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in env.items()]
        _write_privately(self.env_file, "".join(lines))

    def read_env(self) -> dict[str, str]:
        pairs = (line.split("=", 1) for line in self.env_file.read_text().splitlines())
        return {name: shlex.split(value)[0] for name, value in pairs}

    def _remove_run_files(self) -> None:
        self._state_file.unlink(missing_ok=True)
        self.env_file.unlink(missing_ok=True)

    def _already_running(self) -> StackAlreadyRunning:
        state = self.running()
        where = f" at {state.api_url} (pid {state.pid})" if state else ""
        return StackAlreadyRunning(
            f"a stack already runs on {self.root}{where}",
            "use that one, stop it with Ctrl-C in its terminal, or give this one another "
            "directory: panoweave up --data DIRECTORY --port PORT",
        )


def _write_privately(path: Path, text: str) -> None:
    """Replace the file as a whole; at no time can anybody but the owner read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY), "w") as file:
        file.write(text)
    draft.replace(path)
