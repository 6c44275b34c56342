"""Sign pictures as C2PA content credentials (https://c2pa.org)."""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from PIL import Image

from panoweave.core.diffusion.errors import CredentialsError
from panoweave.core.diffusion.image_files import DIGITAL_SOURCE_TYPE

_MANIFEST: Final = {
    "claim_generator_info": [{"name": "panoweave", "version": version("panoweave")}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE},
                ]
            },
        }
    ],
}


class ContentCredentials:
    """A certificate chain and the private key of its first certificate."""

    def __init__(
        self, chain: bytes, private_key: bytes, algorithm: str, tsa_url: str | None
    ) -> None:
        self._chain, self._private_key = chain, private_key
        self._algorithm, self._tsa_url = algorithm, tsa_url

    @classmethod
    def load(
        cls, certificate: Path, private_key: Path, algorithm: str, tsa_url: str | None
    ) -> Self:
        """From PEM files. Signs once to find out whether they can be used.

        `algorithm`: es256, es384, es512, ps256, ps384, ps512 or ed25519. `tsa_url`: a time-stamping
        authority (RFC 3161), asked for every picture. Raises CredentialsError.
        """
        try:
            chain, key = certificate.read_bytes(), private_key.read_bytes()
        except OSError as error:
            raise CredentialsError(f"the certificate or its key cannot be read: {error}") from error
        credentials = cls(chain, key, algorithm, tsa_url)
        smallest = io.BytesIO()
        Image.new("RGB", (1, 1)).save(smallest, "PNG")
        credentials.sign(smallest.getvalue(), "image/png")
        return credentials

    def sign(self, picture: bytes, media_type: str) -> bytes:
        """The same picture with a signed manifest in its file. Raises CredentialsError."""
        c2pa = _c2pa()
        signed = io.BytesIO()
        tsa_url = self._tsa_url.encode() if self._tsa_url else None
        try:
            info = c2pa.C2paSignerInfo(self._algorithm, self._chain, self._private_key, tsa_url)
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(_MANIFEST)) as made:
                made.sign(signer, media_type, io.BytesIO(picture), signed)
        except c2pa.C2paError as error:
            raise CredentialsError(
                f"the picture could not be signed: {error}. The certificate needs the extended key "
                "usage of email protection or document signing, and must not be self-signed"
            ) from error
        return signed.getvalue()


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise CredentialsError(
            "signing needs the package c2pa-python: pip install 'panoweave[c2pa]'"
        ) from error
    return c2pa
