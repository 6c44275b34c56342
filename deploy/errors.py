"""The errors of the command line. Each says what is wrong and what to do about it.

DeployError
├── BadOption            an option or a setting that is not legal (exit 2)
├── PortTaken            another program listens on the API's port
├── StackAlreadyRunning  a second `panoweave up` on the same data directory
├── StackFailed          a part of the stack did not start
├── ServerRefused        the API refused a request or did not answer
└── JobFailed            a panorama ended without a picture
"""

from __future__ import annotations


class DeployError(Exception):
    """A problem that the user can do something about."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class BadOption(DeployError):
    exit_code = 2


class PortTaken(DeployError):
    def __init__(self, port: int, host: str) -> None:
        super().__init__(
            f"port {port} on {host} is taken by another program",
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
