"""examples/webhook_receiver.py: takes what is signed, once, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
from standardwebhooks import Webhook

from tests.deploy.examples.service import Service, next_line

ARGUMENTS = ("--port", "0", "--database", "events.db")


def stored(folder: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(folder / "events.db")) as events:
        return events.execute("SELECT type, panorama FROM events").fetchall()


def signed(secret: str, webhook_id: str, body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body),
    }


def test_it_takes_the_webhook_of_a_real_panorama(service: Service, tmp_path: Path) -> None:
    secret = service.webhook_secret
    with (
        service.running(
            "webhook_receiver.py", *ARGUMENTS, cwd=tmp_path, WEBHOOK_SECRET=secret
        ) as it,
        service.http() as http,
    ):
        url = next_line(it).removeprefix("listening on ")
        request = {"prompt": "a lake", "width": 128, "steps": 2, "webhook": {"url": url}}
        panorama = http.post("/panoramas", json=request).json()
        assert next_line(it) == f"panorama.succeeded {panorama['id']}"
    assert stored(tmp_path) == [("panorama.succeeded", panorama["id"])]


def test_it_stores_an_event_once_and_refuses_forged_ones(service: Service, tmp_path: Path) -> None:
    secret = service.webhook_secret
    forger = "whsec_" + "QUFB" * 8
    event = {"type": "panorama.failed", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "p"}}
    body = json.dumps(event)
    with service.running(
        "webhook_receiver.py", *ARGUMENTS, cwd=tmp_path, WEBHOOK_SECRET=secret
    ) as it:
        url = next_line(it).removeprefix("listening on ")

        def post(body: str, headers: dict[str, str]) -> int:
            return httpx.post(url, content=body, headers=headers, timeout=30).status_code

        assert post(body, signed(forger, "whk_1", body)) == 401
        assert post(body + " ", signed(secret, "whk_1", body)) == 401
        assert post(body, {}) == 401
        assert post("x" * 20_001, {}) == 413
        assert stored(tmp_path) == []
        assert post(body, signed(secret, "whk_1", body)) == 204
        assert post(body, signed(secret, "whk_1", body)) == 204
        assert next_line(it) == "panorama.failed p"
    assert stored(tmp_path) == [("panorama.failed", "p")]


def test_it_needs_a_secret(service: Service, tmp_path: Path) -> None:
    done = service.run("webhook_receiver.py", *ARGUMENTS, cwd=tmp_path)
    assert done.returncode == 1
    assert "WEBHOOK_SECRET" in done.stderr
