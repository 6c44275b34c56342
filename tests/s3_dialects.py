"""A small S3 in memory that refuses what some real ones refuse."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from panoweave.core.infra.settings import Settings

Dialect = Literal[
    "lenient",
    "no-checksums",
    "needs-encryption",
    "virtual-hosts",
    "skewed-clock",
    "other-region",
    "may-not-list",
    "links-refused",
    "no-etags",
]
BUCKET = "panoramas"


class Refusal(Exception):
    def __init__(self, status: int, code: str, text: str, *, region: str | None = None) -> None:
        super().__init__(text)
        self.status, self.code, self.text, self.region = status, code, text, region


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dialect = dialect
        self.objects: dict[str, tuple[bytes, str]] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        query = {name.lower(): value for name, value in parse_qs(parts.query, True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
        is_virtual = self.headers["Host"].startswith(f"{BUCKET}.")
        path = unquote(parts.path.lstrip("/"))
        bucket, _, key = (BUCKET, "", path) if is_virtual else path.partition("/")
        try:
            self._refuse_by_dialect(query, is_virtual=is_virtual)
            if bucket != BUCKET:
                raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.")
            self._serve(key, query, body)
        except Refusal as refusal:
            region = f"<Region>{refusal.region}</Region>" if refusal.region else ""
            text = f"<Error><Code>{refusal.code}</Code><Message>{refusal}</Message>{region}</Error>"
            headers = {"x-amz-bucket-region": refusal.region} if refusal.region else {}
            self._answer(refusal.status, text.encode(), **headers)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

    def _refuse_by_dialect(self, query: dict[str, list[str]], *, is_virtual: bool) -> None:
        sent = [name for name in (*self.headers, *query) if "checksum" in name.lower()]
        signed = self.headers.get("Authorization", "") + str(query)
        encryption = self.headers.get("x-amz-server-side-encryption")
        match self.server.dialect:
            case "no-checksums" if sent:
                raise Refusal(400, "InvalidArgument", f"Unsupported header {sent[0]} received.")
            case "needs-encryption" if self.command == "PUT" and encryption is None:
                raise Refusal(403, "AccessDenied", "Access Denied")
            case "virtual-hosts" if not is_virtual:
                raise Refusal(403, "SecondLevelDomainForbidden", "Use virtual hosted style.")
            case "skewed-clock":
                raise Refusal(403, "RequestTimeTooSkewed", "The times differ too much.")
            case "other-region" if self.command != "POST" and "eu-central-1" not in signed:
                status = 301 if self.command == "HEAD" else 400
                text = "the region is wrong"
                raise Refusal(status, "AuthorizationHeaderMalformed", text, region="eu-central-1")
            case "links-refused" if "x-amz-signature" in query:
                raise Refusal(403, "AccessDenied", "Request has expired")

    def _serve(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
        objects = self.server.objects
        if self.command == "POST":
            form = message_from_bytes(
                f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body
            )
            fields: dict[object, Any] = {
                part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                for part in form.walk()
                if not part.is_multipart()
            }
            objects[fields["key"].decode()] = fields["file"], ""
            self._answer(204)
        elif self.command == "PUT":
            md5 = hashlib.md5(body, usedforsecurity=False)
            said = self.headers.get("Content-MD5")
            if said is None and self.server.dialect == "no-checksums":
                raise Refusal(400, "InvalidRequest", "Content-MD5 is missing.")
            if said not in (None, base64.b64encode(md5.digest()).decode()):
                raise Refusal(400, "BadDigest", "The Content-MD5 did not match.")
            objects[key] = body, self.headers.get("Content-Type", "")
            self._answer(200, ETag=f'"{md5.hexdigest()}"')
        elif self.command == "DELETE":
            objects.pop(key, None)
            self._answer(204)
        elif not key and self.command == "HEAD":
            self._answer(403 if self.server.dialect == "may-not-list" else 200)
        elif not key:
            self._list(query.get("prefix", [""])[0])
        elif key in objects:
            self._answer(200, objects[key][0], **{"Content-Type": objects[key][1]})
        elif self.server.dialect == "may-not-list":
            raise Refusal(403, "AccessDenied", "Access Denied")
        else:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")

    def _list(self, prefix: str) -> None:
        if self.server.dialect == "may-not-list":
            raise Refusal(403, "AccessDenied", "Access Denied")
        found = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(self.server.objects[key][0])}</Size></Contents>"
            for key in sorted(self.server.objects)
            if key.startswith(prefix)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        self._answer(200, text.encode())

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        etag = {} if self.server.dialect == "no-etags" else {"ETag": '"1"'}
        for name, value in ({"Content-Length": str(len(body))} | etag | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def s3_that_speaks(dialect: Dialect) -> Iterator[tuple[Server, Settings]]:
    """The server, and settings that name it and nothing of its dialect."""
    server = Server(dialect)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    settings = Settings(
        s3_endpoint=f"http://localhost:{server.server_port}",
        s3_bucket=BUCKET,
        s3_access_key_id=SecretStr("key"),
        s3_secret_access_key=SecretStr("secret"),
    )
    try:
        yield server, settings
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
