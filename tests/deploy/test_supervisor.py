"""Children that are kept alive, taken down in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from panoweave.deploy.local.child import Child
from panoweave.deploy.local.supervisor import Supervisor
from tests.deploy.stack import is_alive
from tests.processes import wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True); time.sleep(600)",
]

LISTENING = [
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
    "print('listening', flush=True); time.sleep(600)",
]


def child(folder: Path, name: str = "sleeper", command: list[str] = SLEEP) -> Child:
    return Child(name, command, os.environ, folder / f"{name}.log", grace_s=30)


def test_a_killed_child_runs_again_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    supervisor.start(child(tmp_path))
    first = supervisor.pids()["sleeper"]

    os.kill(first, signal.SIGKILL)
    wait_until(supervisor.tend, 30)
    assert "SIGKILL" in said[0]
    assert supervisor.pids() == {}
    wait_until(supervisor.tend, 30)

    second = supervisor.pids()["sleeper"]
    assert second != first
    assert is_alive(second)
    supervisor.stop(lambda: False)
    assert not is_alive(second)


def test_pauses_grow_while_a_child_keeps_dying(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    supervisor.start(child(tmp_path, "brief", [sys.executable, "-c", "print('why'); exit(3)"]))

    def died_three_times() -> bool:
        supervisor.tend()
        return supervisor.dying_again_and_again(3) is not None

    wait_until(died_three_times, 60)
    deaths = [line for line in said if "exit status 3" in line]
    assert [line.split(" again in ")[1].split()[0] for line in deaths] == ["1", "2", "4"]
    brief = supervisor.dying_again_and_again(3)
    assert brief is not None
    assert brief.log_tail() == "why\nwhy\nwhy"
    supervisor.stop(lambda: False)


def test_the_last_started_ends_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    program = (
        "import signal, sys, time\n"
        "def end(*_): open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    supervisor = Supervisor(lambda _: None)
    children = [
        child(tmp_path, name, [sys.executable, "-c", program, str(order), name]) for name in "abc"
    ]
    for each in children:
        supervisor.start(each)
    wait_until(lambda: all(each.log_tail() == "ready" for each in children), 30)
    supervisor.stop(lambda: False)
    assert order.read_text() == "cba"


def test_a_hurry_kills_what_does_not_listen(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _: None)
    deaf = child(tmp_path, "deaf", DEAF)
    supervisor.start(deaf)
    wait_until(lambda: deaf.log_tail() == "deaf", 30)
    began = time.monotonic()
    supervisor.stop(lambda: time.monotonic() > began + 0.5)
    assert deaf.exit_status() == -signal.SIGKILL


def test_a_frozen_child_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    frozen = Child("frozen", LISTENING, os.environ, tmp_path / "log", grace_s=0.5)
    supervisor.start(frozen)
    wait_until(lambda: frozen.log_tail() == "listening", 30)
    assert frozen.pid is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    supervisor.stop(lambda: False)
    assert frozen.exit_status() == -signal.SIGKILL
    assert "frozen was still busy after" in said[0]


def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path\n"
        "from panoweave.deploy.local.child import Child\n"
        "c = Child('s', [sys.executable, '-c', 'import time; time.sleep(600)'], os.environ,"
        " Path(sys.argv[1]), grace_s=1)\n"
        "c.start(); print(c.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent, parent.stdout as pipe:
        pid = int(pipe.readline())
        assert is_alive(pid)
        parent.kill()
        wait_until(lambda: not is_alive(pid), 30)
