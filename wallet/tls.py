"""TLS 1.3 to a node whose key we know. Identity is a key, not a name, an address or a certificate's dates.

The pin (SHA-256 of the SubjectPublicKeyInfo) is compared inside the handshake, before a single byte of ours is sent: a token
never reaches a stranger. Certificate chains and dates are not looked at; the handshake itself proves that the key is held.
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from tallystick.wallet.errors import BadFile


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a node's API: a bearer token, a client certificate, or both. The repr shows neither."""

    token: str | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def __repr__(self) -> str:
        token = "set" if self.token else "none"
        return f"Credentials(token=<{token}>, certificate={self.certificate})"


def pinned_context(key_hash: bytes, credentials: Credentials) -> ssl.SSLContext:
    """A client context that completes a handshake only with the key of this hash (32 bytes)."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            presented = self.getpeercert(binary_form=True)
            if presented is None or spki_hash(presented) != key_hash:
                raise ssl.SSLCertVerificationError(
                    "the node presented another key than the one that network.json names"
                )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Pinned
    if credentials.certificate is not None:
        try:
            context.load_cert_chain(credentials.certificate, credentials.private_key)
        except (OSError, ssl.SSLError) as error:
            raise BadFile(f"client certificate {credentials.certificate}: {error}") from None
    return context


def spki_hash(certificate_der: bytes) -> bytes:
    """SHA-256 of a certificate's SubjectPublicKeyInfo; `SSLCertVerificationError` if the certificate cannot be read."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
        return hashlib.sha256(
            key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).digest()
    except Exception:  # noqa: BLE001  # cryptography has many types for an unreadable certificate
        raise ssl.SSLCertVerificationError("the node's certificate cannot be read") from None
