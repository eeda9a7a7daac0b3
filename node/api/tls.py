"""The TLS 1.3 context of the HTTP interface: the node's own key, client certificates welcome but not required.

A client certificate is trusted only if it is itself on the list of principals (no chain of issuers is followed), so losing a
key is answered by removing one line. Dates are not checked: identity is a key.
"""

import ssl
from collections.abc import Iterable
from pathlib import Path

from tallystick.network.transport.tls import NO_CHECK_TIME


def server_context(
    certificate: Path, key: Path, client_certificates_pem: Iterable[str]
) -> ssl.SSLContext:
    """TLS 1.3 only. An unlisted client certificate fails the handshake; none at all is fine, a token may follow."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a principal that is removed must not live on in a ticket
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    listed = "\n".join(client_certificates_pem)
    if listed:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
        context.load_verify_locations(cadata=listed)
    return context
