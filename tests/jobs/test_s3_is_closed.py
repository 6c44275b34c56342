"""Another user of this machine cannot list, read, overwrite or remove pictures in the local S3.

Tests that run as root make the attempts as the user nobody; others make them as they are.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from panoweave.core.infra.s3 import ObjectStore
from panoweave.deploy.local.certificate import CertificateFiles, write_certificate
from panoweave.deploy.local.servers import S3Server, find_weed

BODY = b"a picture"
SHA256 = hashlib.sha256(BODY).hexdigest()
# What some port of an open SeaweedFS answers with 2xx.
ATTEMPTS = (
    "GET /buckets/panoweave/t/?pretty=y",
    "GET /buckets/panoweave/t/a.png",
    "POST /buckets/panoweave/t/a.png",
    "DELETE /buckets/panoweave/t/?recursive=true",
    "GET /dir/assign",
    "GET /dir/status",
    "GET /dir/lookup?volumeId=1",
    "GET /col/delete?collection=panoweave",
    "GET /1,01637037d6",
    "DELETE /1,01637037d6",
    "GET /panoweave/t/a.png",
    "PUT /panoweave/t/a.png",
    "DELETE /panoweave/t/a.png",
)
BECOME_NOBODY = """
import http.client, os, sys
"".encode("idna")  # loaded now: nobody may not look into the folder that Python lies in
def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
"""
ASK = """
become_nobody()
for port in sys.argv[1].split(","):
    for attempt in sys.argv[2:]:
        method, path = attempt.split(" ")
        body = b"overwritten" if method in ("POST", "PUT") else None
        try:
            there = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
            there.request(method, path, body)
            status = there.getresponse().status
        except (OSError, http.client.HTTPException):
            continue  # gRPC over TLS
        if status < 400:
            print(port, attempt, status)
print("asked")
"""
# The program is opened before, for the same reason.
EXECUTE = """
program = os.open(sys.argv[1], os.O_RDONLY)
os.set_inheritable(program, True)
become_nobody()
os.chdir("/")
os.execve(program, sys.argv[1:], dict(os.environ, HOME="/"))
"""


def ports_of(server: S3Server) -> dict[str, int]:
    flags = Path(f"/proc/{server.child.pid}/cmdline").read_text()
    return {name: int(port) for name, port in re.findall(r"-(\w+)\.port=(\d+)", flags)}


def shell(server: S3Server, commands: str, files: CertificateFiles | None, *, me: bool) -> str:
    """What `weed shell` says, with a certificate or without; run by me, or by nobody."""
    ports = ports_of(server)
    weed = [str(find_weed()), "shell"]
    weed += [f"-{part}=127.0.0.1:{ports[part]}" for part in ("master", "filer")]
    env = dict(os.environ)
    if files is not None:
        env |= {"WEED_GRPC_CA": str(files.certificate)}
        env |= {"WEED_GRPC_CLIENT_CERT": str(files.certificate)}
        env |= {"WEED_GRPC_CLIENT_KEY": str(files.key)}
    with subprocess.Popen(
        weed if me else [sys.executable, "-c", BECOME_NOBODY + EXECUTE, *weed],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    ) as running:
        try:
            return running.communicate(f"{commands}\nexit\n", 60 if me else 6)[0]
        except subprocess.TimeoutExpired:  # it tries for ever
            running.kill()
            return running.communicate()[0]


def test_no_port_answers_http_without_credentials(
    objects: ObjectStore, s3_server: S3Server
) -> None:
    objects.put("t/a.png", BODY, "image/png", SHA256)
    http = ports_of(s3_server)
    assert set(http) == {"s3", "master", "filer", "volume", "admin"}
    ports = ",".join(str(port + above) for port in http.values() for above in (0, 10_000))
    done = subprocess.run(
        [sys.executable, "-c", BECOME_NOBODY + ASK, ports, *ATTEMPTS],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "asked\n", done.stderr
    assert objects.get("t/a.png") == BODY


def test_grpc_answers_whoever_has_the_certificate_alone(
    objects: ObjectStore, s3_server: S3Server
) -> None:
    objects.put("t/a.png", BODY, "image/png", SHA256)
    environment = Path(f"/proc/{s3_server.child.pid}/environ").read_text().split("\0")
    given = dict(pair.split("=", 1) for pair in environment if "=" in pair)
    right = CertificateFiles(Path(given["WEED_GRPC_CA"]), Path(given["WEED_GRPC_CLIENT_KEY"]))
    assert right.key.stat().st_mode & 0o077 == 0
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be read by its user alone
        Path(folder).chmod(0o755)
        own = write_certificate(Path(folder), key_mode=0o644)
        attempt = "fs.ls /buckets/panoweave/t\nfs.rm -rf /buckets/panoweave/t"
        with ThreadPoolExecutor() as at_once:  # each tries until its time is over
            said = at_once.map(
                lambda files: shell(s3_server, attempt, files, me=False), (None, own)
            )
            assert not [each for each in said if "a.png" in each]
    assert objects.get("t/a.png") == BODY
    assert "a.png" in shell(s3_server, "fs.ls /buckets/panoweave/t", right, me=True)
