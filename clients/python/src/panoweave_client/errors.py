"""What the client raises.

PanoweaveError
├── ApiError          the service refused the request
├── ConnectionFailed  the service did not answer
├── UnexpectedAnswer  something else than the service answered
├── PanoramaFailed    the panorama ended, and there is no picture
└── WebhookRefused    the message is not from the service, or too old
"""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from panoweave_client.answers import FieldProblem, PanoramaView, Problem, ProblemCode


class PanoweaveError(Exception):
    """Base of all errors of this package."""


class ConnectionFailed(PanoweaveError):
    """The service did not answer, in all tries. `__cause__` is httpx's error."""


class UnexpectedAnswer(PanoweaveError):
    """The answer is not panoweave's, but for example a web server's at a wrong address."""

    def __init__(self, answer: httpx.Response) -> None:
        kind = answer.headers.get("Content-Type", "no type")
        super().__init__(f"{answer.request.url} is not panoweave's: it answered {kind}")


class ApiError(PanoweaveError):
    """The service refused the request. `errors` names the fields at fault and what is legal."""

    def __init__(self, answer: httpx.Response) -> None:
        """The body of `answer` has been read."""
        problem = _problem(answer)
        self.status: int = answer.status_code
        self.code: ProblemCode | None = problem.code if problem else None
        """None if the answer is not the service's, but for example a proxy's."""
        self.detail: str = problem.detail if problem else answer.text[:200]
        self.errors: list[FieldProblem] = (problem.errors if problem else None) or []
        self.retry_after_s: float | None = _seconds(answer.headers.get("Retry-After"))
        self.request_id: str | None = answer.headers.get("X-Request-ID")
        """For the operator, who finds it in the service's log."""
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [f"{self.code or self.status}: {self.detail}"]
        for error in self.errors:
            legal = f"; legal: {error.legal}" if error.legal else ""
            lines.append(f"{error.field}: {error.detail}{legal}")
        return "\n".join(lines)


class PanoramaFailed(PanoweaveError):
    """The panorama has ended without a picture: it failed, expired or was cancelled."""

    def __init__(self, panorama: PanoramaView) -> None:
        self.panorama = panorama
        error = panorama.error
        self.code: str | None = error.code if error else None
        self.retryable: bool = error.retryable if error else False
        """Whether `retry` may help."""
        why = f": {error.code}: {error.detail}" if error else ""
        super().__init__(f"panorama {panorama.id} {panorama.status}{why}")


class WebhookRefused(PanoweaveError):
    """Do not use the message: it is not signed with this secret, or is too old."""


def _problem(answer: httpx.Response) -> Problem | None:
    if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return None
    try:
        return Problem.model_validate_json(answer.content)
    except ValidationError:
        return None


def _seconds(header: str | None) -> float | None:
    """The service sends seconds. A proxy's date is as good as none."""
    try:
        return None if header is None else float(header)
    except ValueError:
        return None
