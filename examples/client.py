"""Create a panorama, wait for it, and save the picture: a small typed client.

    python examples/client.py "a mountain lake at dawn" --width 1536 --seed 7 -o lake.png

Needs `httpx`. The environment variables PANOWEAVE_URL and PANOWEAVE_API_KEY name the service and
the API key.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import httpx

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]

_TRIES: Final = 8
_WAIT_S: Final = 60  # the longest wait that the service offers


class Refused(Exception):
    """The service refused a request. `code` is stable; the message is for people."""

    def __init__(self, problem: dict[str, Any]) -> None:
        fields = (f"{error['field']}: {error['legal']}" for error in problem.get("errors", ()))
        super().__init__("; ".join([str(problem["detail"]), *fields]))
        self.code = str(problem["code"])


@dataclass(frozen=True)
class Panorama:
    id: str
    status: Status
    model: str
    seed: int
    width: int
    height: int
    error: str | None  # why a failed panorama failed

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        params, error = body["params"], body["error"]
        return cls(
            id=body["id"],
            status=body["status"],
            model=body["model"],
            seed=params["seed"],
            width=params["width"],
            height=params["height"],
            error=f"{error['code']}: {error['detail']}" if error else None,
        )

    @property
    def has_ended(self) -> bool:
        return self.status in ("succeeded", "failed", "cancelled")


class Client:
    """A client of one service. Use it in a `with` statement."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # httpx does not send the API key on to S3 when it follows a redirect.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=_WAIT_S + 10, follow_redirects=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def create(self, prompt: str, **params: object) -> Panorama:
        """Queue a panorama. `params` are further fields of POST /panoramas; None leaves one out."""
        body = {"prompt": prompt, **{k: v for k, v in params.items() if v is not None}}
        # With this key, the service carries out a repeated request only once.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self._request("POST", "/panoramas", json=body, headers=headers)
        return Panorama.from_json(answer.json())

    def wait(self, panorama_id: str) -> Panorama:
        """Return the panorama when it has ended."""
        while True:
            answer = self._request(
                "GET", f"/panoramas/{panorama_id}", headers={"Prefer": f"wait={_WAIT_S}"}
            )
            panorama = Panorama.from_json(answer.json())
            if panorama.has_ended:
                return panorama

    def image(self, panorama_id: str) -> bytes:
        return self._request("GET", f"/panoramas/{panorama_id}/image").content

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again if the connection breaks or the service asks to come back later."""
        for last_try in [False] * (_TRIES - 1) + [True]:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError:
                if last_try:
                    raise
                time.sleep(1)
                continue
            # 429 and 503, and 409 while the first request with this Idempotency-Key is under way.
            if answer.is_error and "Retry-After" in answer.headers and not last_try:
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
                raise Refused(answer.json())
            return answer.raise_for_status()
        raise AssertionError("the last try returns or raises")


def main() -> None:
    parser = argparse.ArgumentParser(description="Create a panorama and save its picture.")
    parser.add_argument("prompt")
    parser.add_argument("--model", help="one of GET /models; default: the server's default")
    parser.add_argument("--width", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("panorama.png"))
    given = parser.parse_args()
    url = os.environ.get("PANOWEAVE_URL", "http://127.0.0.1:8000")
    with Client(url, os.environ.get("PANOWEAVE_API_KEY")) as client:
        try:
            created = client.create(
                given.prompt,
                model=given.model,
                width=given.width,
                seed=given.seed,
                steps=given.steps,
            )
            print(f"{created.id}: {created.width} x {created.height} px, seed {created.seed}")
            panorama = client.wait(created.id)
            if panorama.status != "succeeded":
                sys.exit(f"{panorama.id} {panorama.status}: {panorama.error}")
            given.output.write_bytes(client.image(panorama.id))
        except Refused as refused:
            sys.exit(f"{refused.code}: {refused}")
    print(given.output)


if __name__ == "__main__":
    main()
