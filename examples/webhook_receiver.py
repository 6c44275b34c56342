"""Receive panoweave's webhooks: verify the signature, and handle each event only once.

    WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py --port 8765 --database events.db

Needs `standardwebhooks`. `panoweave webhook-secrets create --tenant NAME` prints the secret. In
production, put this behind a proxy that speaks TLS.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from standardwebhooks import Webhook, WebhookVerificationError

_MAX_BYTES: Final = 20_000  # panoweave sends less


class Receiver(HTTPServer):
    def __init__(self, port: int, secret: str, database: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.webhook = Webhook(secret)
        self.database = database
        with closing(sqlite3.connect(database)) as events:
            events.execute(
                "CREATE TABLE IF NOT EXISTS events"
                " (webhook_id TEXT PRIMARY KEY, type TEXT, panorama TEXT, happened_at TEXT)"
            )

    def record(self, webhook_id: str, event: dict[str, Any]) -> bool:
        """Store an event. False if it was stored before: a webhook may arrive more than once."""
        row = (webhook_id, event["type"], event["data"]["id"], event["timestamp"])
        with closing(sqlite3.connect(self.database)) as events, events:
            return (
                events.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", row).rowcount > 0
            )


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = 10  # a client that sends nothing must not block the others

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if not 0 < length <= _MAX_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(length)
        try:
            # Over the bytes as they came: JSON that was parsed and written again has another
            # signature. This also refuses a timestamp that is more than five minutes off.
            event = self.server.webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        is_new = self.server.record(self.headers["webhook-id"], event)
        # Any 2xx ends the delivery, so answer only after the event is stored.
        self._answer(HTTPStatus.NO_CONTENT)
        if is_new:
            print(event["type"], event["data"]["id"], flush=True)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print events only."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive panoweave's webhooks.")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--database", type=Path, default=Path("events.db"))
    given = parser.parse_args()
    with Receiver(given.port, os.environ["WEBHOOK_SECRET"], given.database) as receiver:
        print(f"listening on http://127.0.0.1:{receiver.server_port}/", flush=True)
        receiver.serve_forever()


if __name__ == "__main__":
    main()
