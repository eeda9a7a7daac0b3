"""Who asks, and whether he may: a bearer token, or a client certificate whose key is listed. Default: no.

A token that is presented decides alone, even beside a good certificate: a bad token is an error, not a fallback.
Not here: which account belongs to whom (`reading`; for submissions the core itself refuses).
"""

import tomllib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from tallystick.network.transport.tls import spki_hash
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import bounds
from tallystick.node.api.routes import Route
from tallystick.node.api.tokens import Principal, Scope, Tokens, known_scopes

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
LOCAL_METRICS = Principal("loopback", frozenset({Scope.READ_ALL}), None)
"""Who reads metrics on loopback when the configuration opens them."""


@dataclass(frozen=True, slots=True)
class CertifiedPrincipal:
    """A principal known by the key of a client certificate."""

    principal: Principal
    key_hash: bytes
    certificate_pem: str


def load_principals(path: Path) -> tuple[CertifiedPrincipal, ...]:
    """Read `[[principal]] name, certificate (file beside it), key_hash, scopes, participant?`; `ValueError` says what is wrong."""
    entries = tomllib.loads(path.read_text()).get("principal", [])
    if not isinstance(entries, list) or len(entries) > bounds.PRINCIPALS_MAX:
        raise ValueError(f"{path}: wants at most {bounds.PRINCIPALS_MAX} [[principal]] tables")
    found = [
        _certified(entry, path.parent, f"{path}: principal {n}") for n, entry in enumerate(entries)
    ]
    if len({entry.key_hash for entry in found}) != len(found):
        raise ValueError(f"{path}: two principals have the same key")
    return tuple(found)


def _certified(entry: Mapping[str, object], folder: Path, where: str) -> CertifiedPrincipal:
    if unknown := set(entry) - {"name", "certificate", "key_hash", "scopes", "participant"}:
        raise ValueError(f"{where}: unknown field {min(unknown)}")
    name, scopes, participant = entry.get("name"), entry.get("scopes"), entry.get("participant")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}: has no name")
    if not isinstance(scopes, list) or len(known_scopes(scopes)) != len(scopes):
        raise ValueError(f"{where}: scopes must be of {[scope.value for scope in Scope]}")
    if participant is not None and not isinstance(participant, int):
        raise ValueError(f"{where}: participant must be a number")
    pem = (folder / str(entry.get("certificate"))).read_text()
    actual = spki_hash(pem.encode())
    if str(entry.get("key_hash")).lower().removeprefix("0x") != actual.hex():
        raise ValueError(f"{where}: key_hash is not that of its certificate, {actual.hex()}")
    bank = None if participant is None else ParticipantId(participant)
    return CertifiedPrincipal(Principal(f"key:{name}", known_scopes(scopes), bank), actual, pem)


class Gate:
    """Finds the principal of a request and holds him to the route's row."""

    def __init__(
        self,
        tokens: Tokens | None,
        certified: Mapping[bytes, Principal],
        metrics_open_on_loopback: bool = False,
    ) -> None:
        self._tokens = tokens
        self._certified = dict(certified)
        self._metrics_open = metrics_open_on_loopback
        self._key_hashes: OrderedDict[bytes, bytes] = OrderedDict()

    def admit(self, request: web.Request, route: Route) -> Principal | None:
        """The principal, None on an open route; `Refused` with UNAUTHENTICATED or FORBIDDEN."""
        if route.scopes is None:
            return None
        if route.name == "metrics" and self._metrics_open and request.remote in _LOOPBACK:
            return LOCAL_METRICS
        principal = self._principal(request)
        if not principal.scopes & route.scopes:
            wanted = " or ".join(sorted(scope.value for scope in route.scopes))
            raise Refused(RejectReason.FORBIDDEN, f"This needs the scope {wanted}.")
        return principal

    def _principal(self, request: web.Request) -> Principal:
        headers = request.headers.getall("Authorization", [])
        if len(headers) > 1:
            raise Refused(
                RejectReason.UNAUTHENTICATED, "More than one Authorization header was sent."
            )
        if headers:
            kind, _, token = headers[0].partition(" ")
            if kind.lower() != "bearer" or self._tokens is None:
                raise Refused(RejectReason.UNAUTHENTICATED, "Only bearer tokens are taken here.")
            return self._tokens.principal(token.strip())
        der = _peer_certificate(request)
        principal = None if der is None else self._certified.get(self._key_hash(der))
        if principal is None:
            raise Refused(
                RejectReason.UNAUTHENTICATED, "Send a bearer token or a listed client certificate."
            )
        return principal

    def _key_hash(self, der: bytes) -> bytes:
        known = self._key_hashes.get(der)
        if known is None:
            known = self._key_hashes[der] = spki_hash(der)
            if len(self._key_hashes) > bounds.CERTIFICATE_CACHE_MAX:
                self._key_hashes.popitem(last=False)
        return known


def _peer_certificate(request: web.Request) -> bytes | None:
    """The DER of the certificate that the TLS layer verified, None if the client sent none."""
    if request.transport is None:
        return None
    connection = request.transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    der: bytes | None = connection.getpeercert(binary_form=True)
    return der
