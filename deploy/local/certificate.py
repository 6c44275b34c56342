"""A certificate with which the parts of SeaweedFS know one another, and nobody else.

Its gRPC ports answer every local user otherwise: `weed shell` lists and removes pictures there.
`python -m panoweave.deploy.local.certificate DIRECTORY` writes one for docker-compose.yml.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_VALID: Final = timedelta(days=3650)  # a new one is made at each start
_CLOCK_SKEW: Final = timedelta(days=1)
_OWNER_ONLY: Final = 0o600
_EVERYBODY: Final = 0o644


class CertificateFiles(NamedTuple):
    certificate: Path
    key: Path


def write_certificate(folder: Path, key_mode: int = _OWNER_ONLY) -> CertificateFiles:
    """A new key and its certificate, which is its own authority, in place of those there."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "panoweave")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = CertificateFiles(folder / "certificate.pem", folder / "key.pem")
    _write(files.certificate, certificate.public_bytes(Encoding.PEM), _EVERYBODY)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(files.key, pem, key_mode)
    return files


def _write(file: Path, content: bytes, mode: int) -> None:
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        opened.write(content)


if __name__ == "__main__":
    write_certificate(Path(sys.argv[1]))
