"""Bearer tokens: a signed JWT (RFC 7519, 7515) by an issuer whose public keys stand in a JWKS file.

Decided here: the algorithm comes from the key, never from the token; two algorithms exist (ES256, Ed25519); alphabet and
padding are checked before the library sees the token (joserfc decodes broken base64); `exp` and `aud` are required.
Not here: what a scope opens (`routes`, `access`). Refused with UNAUTHENTICATED and a sentence, never with the token.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import bounds

PublicKey: TypeAlias = ECKey | OKPKey

NOT_BEFORE_SKEW_S = 30
"""Seconds by which an issuer's clock may run ahead of ours."""

_ALGORITHM_OF = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "Ed25519"}
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADER_NAMES = frozenset({"alg", "kid", "typ"})
"""Nothing else is understood, so nothing else is accepted: no jwk, jku, x5c, crit, b64."""


class Scope(StrEnum):
    """What a principal may do."""

    SUBMIT = "submit"
    READ_OWN = "read:own"
    READ_ALL = "read:all"
    OPERATE = "operate"
    """The operator of this node: hand leadership over."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `participant` None: not bound to a bank."""

    name: str
    scopes: frozenset[Scope]
    participant: ParticipantId | None


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One public key and the only algorithm that it verifies."""

    algorithm: str
    key: PublicKey


def load_jwks(document: bytes) -> dict[str, IssuerKey]:
    """kid → key. `ValueError` says which key is unfit: another type, a private one, no or a repeated kid."""
    keys = _json_object(document).get("keys")
    if not isinstance(keys, list) or not keys or len(keys) > bounds.JWKS_KEYS_MAX:
        raise ValueError(f'a JWKS file holds 1 to {bounds.JWKS_KEYS_MAX} keys under "keys"')
    found: dict[str, IssuerKey] = {}
    for position, entry in enumerate(keys):
        kid, key = _issuer_key(entry, f"key {position}")
        if kid in found:
            raise ValueError(f"key {position}: the kid {kid!r} appears twice")
        found[kid] = key
    return found


def _issuer_key(entry: object, where: str) -> tuple[str, IssuerKey]:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: not an object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not kid:
        raise ValueError(f"{where}: has no kid")
    algorithm = _ALGORITHM_OF.get((str(entry.get("kty")), str(entry.get("crv"))))
    if algorithm is None:
        raise ValueError(f"{where}: only EC P-256 and OKP Ed25519 keys are used")
    if entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        raise ValueError(f"{where}: its alg or use does not fit a {algorithm} signing key")
    if "verify" not in entry.get("key_ops", ["verify"]):
        raise ValueError(f"{where}: its key_ops do not allow to verify")
    if "d" in entry:
        raise ValueError(f"{where}: is a private key; a node needs the public one only")
    names = ("kty", "crv", "x", "y") if algorithm == "ES256" else ("kty", "crv", "x")
    try:
        bare = {name: entry[name] for name in names}
        key: PublicKey = ECKey.import_key(bare) if algorithm == "ES256" else OKPKey.import_key(bare)
        _ = key.public_key  # joserfc decodes lazily: a point off the curve shows here
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None
    return kid, IssuerKey(algorithm, key)


def verified_payload(token: str, keys: Mapping[str, IssuerKey]) -> bytes:
    """The payload of a compact JWS that one of `keys` signed, or `Refused(UNAUTHENTICATED)`."""
    if len(token) > bounds.TOKEN_BYTES_MAX:
        raise _refused(f"The token is longer than {bounds.TOKEN_BYTES_MAX} bytes.")
    if not _TOKEN.fullmatch(token):
        raise _refused("The token is not three base64url parts.")
    parts = token.split(".")
    if not all(_is_canonical(part) for part in parts):
        raise _refused("The token is not canonical base64url.")
    issuer = _key_for(_claims_of(_bytes_of(parts[0])), keys)
    try:
        jws.deserialize_compact(token, issuer.key, algorithms=[issuer.algorithm])
    except (JoseError, ValueError, TypeError, KeyError):
        raise _refused("The token's signature is not by its key.") from None
    return _bytes_of(parts[1])


def _key_for(header: Mapping[str, object], keys: Mapping[str, IssuerKey]) -> IssuerKey:
    if unknown := set(header) - _HEADER_NAMES:
        raise _refused(f"The token's header has {min(unknown)!r}, which is not used here.")
    kid = header.get("kid")
    if kid is None and len(keys) == 1:
        (issuer,) = keys.values()
    elif isinstance(kid, str) and kid in keys:
        issuer = keys[kid]
    else:
        raise _refused("The token's key is not one of the issuer's.")
    if header.get("alg") != issuer.algorithm:
        raise _refused(f"The token's alg is not {issuer.algorithm}, which its key is for.")
    return issuer


class Tokens:
    """Verifies tokens and remembers the good ones, by their bytes, until they expire."""

    def __init__(
        self,
        keys: dict[str, IssuerKey],
        audience: str,
        now_ms: Callable[[], int],
        cache_max: int = bounds.TOKEN_CACHE_MAX,
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._now_ms = now_ms
        self._cache_max = cache_max
        self._good: OrderedDict[str, tuple[Principal, int]] = OrderedDict()

    @property
    def remembered(self) -> int:
        """How many verified tokens are in memory."""
        return len(self._good)

    def principal(self, token: str) -> Principal:
        """Who the token speaks for, or `Refused(UNAUTHENTICATED)`."""
        now_s = self._now_ms() / 1000
        if known := self._good.get(token):
            if now_s < known[1]:
                return known[0]
            del self._good[token]
            raise _refused("The token has expired.")
        claims = _claims_of(verified_payload(token, self._keys))
        principal, expires_s = self._accepted(claims, now_s)
        self._good[token] = principal, expires_s
        if len(self._good) > self._cache_max:
            self._good.popitem(last=False)
        return principal

    def _accepted(self, claims: dict[str, object], now_s: float) -> tuple[Principal, int]:
        expires_s, not_before_s = claims.get("exp"), claims.get("nbf", 0)
        if not _is_count(expires_s):
            raise _refused("The token has no exp, an integer in seconds.")
        if now_s >= expires_s:
            raise _refused("The token has expired.")
        if not _is_count(not_before_s) or now_s < not_before_s - NOT_BEFORE_SKEW_S:
            raise _refused("The token is not valid yet.")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise _refused("The token is for another audience than this network.")
        if "cnf" in claims:
            raise _refused("The token is bound to a certificate, which is not supported.")
        return _principal_of(claims), expires_s


def _principal_of(claims: dict[str, object]) -> Principal:
    subject, scope, participant = (
        claims.get("sub"),
        claims.get("scope", ""),
        claims.get("participant"),
    )
    if not isinstance(subject, str) or not 1 <= len(subject) <= 128:
        raise _refused("The token has no sub of 1 to 128 characters.")
    if not isinstance(scope, str):
        raise _refused("The token's scope is not a string.")
    if participant is not None and not (_is_count(participant) and participant < 2**32):
        raise _refused("The token's participant is not a number below 2**32.")
    return Principal(
        f"token:{subject}",
        known_scopes(scope.split()),
        None if participant is None else ParticipantId(participant),
    )


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes that we know among `names`; others open nothing (RFC 6749, 3.3)."""
    known = {scope.value: scope for scope in Scope}
    return frozenset(known[name] for name in names if name in known)


def _is_canonical(part: str) -> bool:
    """True if `part` is the one unpadded base64url form of its bytes: right length, no stray trailing bits."""
    if len(part) % 4 == 1:
        return False
    return urlsafe_b64encode(_bytes_of(part)).rstrip(b"=").decode() == part


def _bytes_of(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _claims_of(data: bytes) -> dict[str, object]:
    try:
        return _json_object(data)
    except ValueError:
        raise _refused("The token's header or claims are not one JSON object.") from None


def _json_object(data: bytes) -> dict[str, object]:
    """A JSON object whose names are distinct, or `ValueError`."""
    try:
        value = json.loads(data, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refused(sentence: str) -> Refused:
    return Refused(RejectReason.UNAUTHENTICATED, sentence)
