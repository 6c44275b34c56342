"""Run a command that dies with its parent: `python tether.py PARENT_PID SIGNAL COMMAND ...`.

A parent that is killed with SIGKILL cannot stop its children, so the kernel does it: Linux sends
SIGNAL to this process when its parent ends. The setting survives `exec`, so the command replaces
this process and keeps its process id. On other systems the command simply runs, and outlives a
parent that is killed.

Imports nothing of panoweave, because it runs before every child and has to start fast.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent_pid, death_signal, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent_pid):
        sys.exit("the parent was gone before its child began")
    os.execvp(command[0], command)  # noqa: S606 (replacing this process is the purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
