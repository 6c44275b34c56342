"""Redis as people run it: with replicas, Sentinels, ACL users and TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from panoweave.deploy.local.ports import free_port
from panoweave.deploy.local.servers import Server, find_redis_server

# Neither administration nor what reads or removes others' keys: docs/how-to/deploy.md.
ACL_RULES: Final = (
    "resetchannels ~panoweave:* ~rq:* &panoweave:* &rq:* +@all -@admin -@dangerous +info"
)
_HIGHEST_PORT: Final = 55_000


class ConfiguredRedis(Server):
    """A redis-server with these lines of configuration."""

    def __init__(self, folder: Path, name: str, lines: Mapping[str, str], *flags: str) -> None:
        # In cluster mode it also listens at this port and 10,000.
        self.port = next(port for port in iter(free_port, None) if port < _HIGHEST_PORT)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        data = folder / name
        data.mkdir(parents=True)
        config = data / "redis.conf"
        all_lines = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(data), **lines}
        config.write_text("".join(f"{key} {value}\n" for key, value in all_lines.items()))
        command = [str(find_redis_server()), str(config), *flags]
        super().__init__(name, command, {}, [self.port], folder / f"{name}.log")

    def answers(self) -> bool:
        with suppress(RedisError), self.client() as redis:
            return bool(redis.ping())
        return False

    def client(self, **options: Any) -> Redis:
        return Redis(port=self.port, socket_timeout=2, **options)


@dataclass(frozen=True)
class Replicated:
    """A primary with one replica, and three Sentinels, two of which must agree on a failover."""

    nodes: list[ConfiguredRedis]
    sentinels: list[ConfiguredRedis]

    NAME: Final = "Panoweave-1"

    @property
    def addresses(self) -> str:
        """Of the Sentinels, as the setting has them."""
        return ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)

    def primary(self) -> ConfiguredRedis:
        with self.sentinels[0].client() as client:
            _, port = client.sentinel_get_master_addr_by_name(self.NAME)
        return next(node for node in self.nodes if node.port == port)

    def is_watched(self) -> bool:
        """All Sentinels know one another and the replica: from then on they can fail over."""
        for each in self.sentinels:
            with each.client() as client:
                state = client.sentinel_master(self.NAME)
            if state["num-other-sentinels"] != 2 or state["num-slaves"] != 1:
                return False
        return True


@contextmanager
def replicated(folder: Path, *, down_after_ms: int = 700, **lines: str) -> Iterator[Replicated]:
    """`lines`: more configuration of the two servers."""
    common = {"appendonly": "yes", "repl-diskless-sync-delay": "0", **lines}
    with ExitStack() as stack:
        first = stack.enter_context(ConfiguredRedis(folder, "redis-1", common))
        follows = {"replicaof": f"127.0.0.1 {first.port}"}
        second = stack.enter_context(ConfiguredRedis(folder, "redis-2", common | follows))
        watch = {
            "sentinel": f"monitor {Replicated.NAME} 127.0.0.1 {first.port} 2\n"
            f"sentinel down-after-milliseconds {Replicated.NAME} {down_after_ms}\n"
            f"sentinel failover-timeout {Replicated.NAME} 3000",
        }
        sentinels = [
            stack.enter_context(ConfiguredRedis(folder, f"sentinel-{i}", watch, "--sentinel"))
            for i in range(3)
        ]
        yield Replicated([first, second], sentinels)


@dataclass(frozen=True)
class Certificates:
    ca: Path
    server: Path  # with its key in the same file
    client: Path
    client_key: Path


def write_certificates(folder: Path) -> Certificates:
    """An authority, and two certificates signed by it: of 127.0.0.1, and of a client."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("authority", ca_key, "authority", ca_key, is_ca=True)
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        signed = _certificate(name, key, "authority", ca_key).public_bytes(Encoding.PEM)
        (folder / f"{name}.pem").write_bytes(signed + (pem if name == "server" else b""))
        (folder / f"{name}-key.pem").write_bytes(pem)
    return Certificates(
        *(folder / name for name in ("ca.pem", "server.pem", "client.pem", "client-key.pem"))
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    subject, by = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        # Python 3.13 asks for these as well.
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )


@contextmanager
def terminating_tls(port: int, certificates: Certificates) -> Iterator[int]:
    """A port that speaks TLS, asks for a client certificate, and passes all on to `port`.

    The bundled redis-server is built without TLS. panoweave's side of it is real.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.load_cert_chain(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.new_event_loop()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(2**16):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()
