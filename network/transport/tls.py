"""TLS 1.3 between nodes. Identity is a key: each node has one, with a self-signed certificate, and pins its peers' keys.

Python's `ssl` has no hook to judge a certificate, so OpenSSL is told to trust exactly the peers' certificates (no authority,
no chain, no dates), and after the handshake the key that was shown is looked up among the pins. Renewing a certificate for
the same key therefore needs the new file at the peers, but no new genesis. No session is ever resumed: a pin that is removed
must not live on in a ticket.
"""

import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tallystick.network.wire.faults import OperationalError

VALID_DAYS = 3_650
"""Ten years; between pinned peers the dates are not even looked at."""

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python's `ssl` has no name for."""


@dataclass(frozen=True, slots=True)
class Identity:
    """This node's own key and certificate, as files."""

    key: Path
    certificate: Path


def make_identity(
    name: str,
    key: Path,
    certificate: Path,
    hosts: Iterable[str] = ("localhost", "127.0.0.1", "::1"),
) -> bytes:
    """Write a new P-256 key (mode 0600) and its self-signed certificate; never over a key. Returns `spki_hash`.

    `hosts` are for clients that check names (curl with --cacert); nodes do not.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(private, SHA256())
    )
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        handle = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OperationalError(f"{key} exists. A key is never overwritten.") from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(handle)
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    return _spki_hash(made)


def spki_hash(certificate: bytes) -> bytes:
    """32 bytes: SHA-256 of the SubjectPublicKeyInfo of a certificate in DER or PEM. `ValueError` if it is neither."""
    if certificate.lstrip().startswith(b"-----"):
        return _spki_hash(x509.load_pem_x509_certificate(certificate))
    return _spki_hash(x509.load_der_x509_certificate(certificate))


def listening_context(identity: Identity, trusted_pem: Iterable[str]) -> ssl.SSLContext:
    """For the node that accepts: TLS 1.3, a client certificate from the list or no connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    return _between_pinned_peers(context, identity, trusted_pem)


def dialing_context(identity: Identity, trusted_pem: Iterable[str]) -> ssl.SSLContext:
    """For the node that dials: the same, with its own certificate shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _between_pinned_peers(context, identity, trusted_pem)


def presented_key(connection: object) -> bytes | None:
    """The `spki_hash` of the certificate that the peer of a finished handshake holds the key of; None without one.

    `connection` is the transport's "ssl_object".
    """
    shown = getattr(connection, "getpeercert", None)
    certificate = shown(binary_form=True) if shown is not None else None
    return spki_hash(certificate) if certificate else None


def _between_pinned_peers(
    context: ssl.SSLContext, identity: Identity, trusted_pem: Iterable[str]
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
    try:
        context.load_cert_chain(identity.certificate, identity.key)
    except (OSError, ssl.SSLError) as error:
        raise OperationalError(
            f"cannot use {identity.certificate} with {identity.key}: {error}"
        ) from error
    listed = "\n".join(trusted_pem)
    if listed:
        try:
            context.load_verify_locations(cadata=listed)
        except ssl.SSLError as error:
            raise OperationalError(f"a peer's certificate cannot be read: {error}") from error
    return context


def _spki_hash(certificate: x509.Certificate) -> bytes:
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(info).digest()


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
