"""Pictures are signed as C2PA content credentials, with a certificate made here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from pydantic import ValidationError

from panoweave.core.diffusion.errors import CredentialsError
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord
from panoweave.core.output import MEDIA_TYPES
from panoweave.worker.job import WorkerContext, run_attempt
from panoweave.worker.model import load_credentials


class Files(NamedTuple):
    chain: Path
    key: Path

    def settings(self) -> Settings:
        return Settings(c2pa_certificate=self.chain, c2pa_private_key=self.key)


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Of an authority where it signs itself, else one that may sign documents."""
    is_authority, now = key is issuer_key, datetime.now(UTC)

    def name(text: str) -> x509.Name:
        parts = ((NameOID.ORGANIZATION_NAME, "panoweave"), (NameOID.COMMON_NAME, text))
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not is_authority:
        usages = [ExtendedKeyUsageOID.EMAIL_PROTECTION]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(issuer_key, SHA256())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("credentials")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        certificate("panoweave", key, authority_key),
        certificate("authority", authority_key, authority_key),
    ]
    made = Files(folder / "chain.pem", folder / "key.pem")
    made.chain.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def check_signed(picture: bytes, media_type: str) -> None:
    with c2pa.Reader(media_type, io.BytesIO(picture)) as reader:
        report = json.loads(reader.json())
    assert report["validation_state"] == "Valid"
    manifest = report["manifests"][report["active_manifest"]]
    (actions,) = (one for one in manifest["assertions"] if one["label"] == "c2pa.actions.v2")
    (action,) = actions["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")


@pytest.mark.parametrize("name", list(MEDIA_TYPES))
def test_every_format_can_be_signed(files: Files, name: str) -> None:
    credentials = load_credentials(files.settings())
    assert credentials is not None
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), "teal").save(buffer, name)
    signed = credentials.sign(buffer.getvalue(), MEDIA_TYPES[name])  # type: ignore[index]
    check_signed(signed, MEDIA_TYPES[name])  # type: ignore[index]
    assert Image.open(io.BytesIO(signed)).size == (64, 32)


def test_a_worker_signs_what_it_stores(
    context: WorkerContext, post: Callable[..., JobRecord], files: Files
) -> None:
    context = replace(context, credentials=load_credentials(files.settings()))
    post(steps=1)
    record = context.store.claim(context.name, context.settings.model)
    assert record is not None
    ended = run_attempt(context, record)
    assert ended is not None
    assert ended.result is not None
    check_signed(context.objects.get(ended.result.keys.image), "image/png")


def test_credentials_that_cannot_be_used_are_refused_at_the_start(
    files: Files, tmp_path: Path
) -> None:
    other_key = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    other_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for broken in (
        files._replace(chain=empty),
        files._replace(key=empty),
        files._replace(key=other_key),
        files._replace(chain=tmp_path / "missing.pem"),
    ):
        with pytest.raises(CredentialsError):
            load_credentials(broken.settings())


def test_without_a_certificate_nothing_is_signed(settings: Settings) -> None:
    assert load_credentials(settings) is None
    with pytest.raises(ValidationError, match="go together"):
        Settings(c2pa_certificate=Path("chain.pem"))
