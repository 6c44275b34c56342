"""The few calls of panoweave's own API that `panoweave demo` makes, as any client would."""

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
_PATIENCE_S = 60.0  # the API may be down for a moment: its supervisor starts it again


class ApiClient:
    """Use it in `with`: it keeps connections open."""

    def __init__(self, api_url: str, token: str | None = None) -> None:
        """`token`: an API key, where the API asks for one."""
        self._http = httpx.Client(
            base_url=api_url,
            timeout=30,
            follow_redirects=True,  # httpx takes the key no further than to the API
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
            raise ServerRefused(f"the API at {self._http.base_url} is away: {error}") from error

    def wait(self, job_id: str, on_look: Callable[[Job], None]) -> Job:
        """Poll until the job has ended; `on_look` sees every answer."""
        answered_at = time.monotonic()
        while True:
            try:
                job = _body(self._http.get(f"/panoramas/{job_id}"))
                answered_at = time.monotonic()
            except (httpx.TransportError, ServerRefused) as error:
                if time.monotonic() - answered_at > _PATIENCE_S:
                    raise ServerRefused(f"no answer for panorama {job_id}: {error}") from error
            else:
                on_look(job)
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
    """The JSON of a good answer; the problem's own words of a bad one."""
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
    """The problem's own words, with what would be legal for each field it names."""
    words = [f"{problem.get('code', status)}: {problem.get('detail', problem)}"]
    for one in problem.get("errors") or []:
        words.append(f"{one['field']}: {one['detail']}; legal: {one.get('legal')}")
    return "\n".join(words)
