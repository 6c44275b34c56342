"""What can go wrong at the command line: each says the problem and what to do about it.

DeployError
├── BadOption            an option that the parameters or the settings refuse (exit 2)
├── PortTaken            another program listens where the API should
├── StackAlreadyRunning  a second `panoweave up` on the same data directory
├── StackFailed          a part of the stack did not come up
├── ServerRefused        the API answered with a problem, or not at all
└── JobFailed            a panorama ended as anything but succeeded
"""

from __future__ import annotations


class DeployError(Exception):
    """A problem that the person at the terminal can act on."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class BadOption(DeployError):
    exit_code = 2


class PortTaken(DeployError):
    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on 127.0.0.1 is taken by another program",
            f"stop that program, or choose another port: panoweave up --port {port + 1}",
        )


class StackAlreadyRunning(DeployError):
    pass


class StackFailed(DeployError):
    pass


class ServerRefused(DeployError):
    pass


class JobFailed(DeployError):
    pass
