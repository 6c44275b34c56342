"""A small client of panoweave's API, for `panoweave demo`."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx

from panoweave.deploy.errors import JobFailed, ServerRefused

Job = dict[str, Any]

_FINAL = ("succeeded", "failed", "cancelled")
_POLL_EVERY_S = 0.5
_MAX_SILENCE_S = 60.0  # the supervisor restarts an API that crashed


class ApiClient:
    """A context manager, since it keeps connections open."""

    def __init__(self, api_url: str, token: str | None = None) -> None:
        """`token`: an API key, if the API asks for one."""
        self._http = httpx.Client(
            base_url=api_url,
            timeout=30,
            follow_redirects=True,  # httpx sends the key to the API only
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, panorama: dict[str, Any]) -> Job:
        try:
            return _body(self._http.post("/panoramas", json=panorama))
        except httpx.TransportError as error:
            raise ServerRefused(
                f"the API at {self._http.base_url} does not answer: {error}"
            ) from error

    def wait(self, job_id: str, on_poll: Callable[[Job], None]) -> Job:
        """Poll until the job has ended. `on_poll` is called with every answer."""
        last_answer = time.monotonic()
        while True:
            try:
                job = _body(self._http.get(f"/panoramas/{job_id}"))
                last_answer = time.monotonic()
            except (httpx.TransportError, ServerRefused) as error:
                if time.monotonic() - last_answer > _MAX_SILENCE_S:
                    raise ServerRefused(f"no answer for panorama {job_id}: {error}") from error
            else:
                on_poll(job)
                if job["status"] in _FINAL:
                    return _succeeded(job)
            time.sleep(_POLL_EVERY_S)

    def download(self, job_id: str, target: Path) -> None:
        answer = self._http.get(f"/panoramas/{job_id}/image")
        if answer.is_error:
            _body(answer)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(answer.content)


def _succeeded(job: Job) -> Job:
    if job["status"] == "succeeded":
        return job
    error = job["error"] or {}
    detail = error.get("detail") or "no reason given"
    raise JobFailed(f"panorama {job['id']} {job['status']}: {error.get('code')}: {detail}")


def _body(answer: httpx.Response) -> Job:
    """The JSON of an answer. Raises ServerRefused with the problem of an error."""
    try:
        body: Job = answer.json()
    except ValueError:
        body = {"detail": answer.text[:200]}
    if answer.is_error:
        remedy = "set PANOWEAVE_API_KEY: `panoweave keys create --tenant NAME` makes one"
        raise ServerRefused(
            f"the API refused: {_explain(body, answer.status_code)}",
            remedy if answer.status_code == HTTPStatus.UNAUTHORIZED else "",
        )
    return body


def _explain(problem: Job, status: int) -> str:
    """The problem's text, with the legal values of each field that it names."""
    lines = [f"{problem.get('code', status)}: {problem.get('detail', problem)}"]
    for one in problem.get("errors") or []:
        lines.append(f"{one['field']}: {one['detail']}; legal: {one.get('legal')}")
    return "\n".join(lines)
