"""Public keys and the one verdict on a signature: secp256k1 for what clients spend, Ed25519 for what nodes vote.

Decided here: which keys and signatures exist at all. secp256k1: 33-byte compressed points, 64-byte r‖s, 0 < r < n and
0 < s ≤ n/2. Ed25519: canonical points that are not of small order, then OpenSSL's verdict (RFC 8032, cofactorless, s < L).
Not here: whose key it is, how many are needed, private keys. `verify_spend` is the hottest function of the system: it is the
bare libsecp256k1 call with the parsed key remembered, and holds no state that two threads could share.
"""

from functools import lru_cache
from typing import Final

from coincurve._libsecp256k1 import ffi, lib  # type: ignore[import-not-found]  # a C module
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tallystick.network.wire import bounds

SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF_ORDER: Final = (SECP256K1_ORDER // 2).to_bytes(32, "big")

_context = lib.secp256k1_context_static
_parse_compact = lib.secp256k1_ecdsa_signature_parse_compact
_verify = lib.secp256k1_ecdsa_verify
_new = ffi.new
_SIGNATURE = ffi.typeof("secp256k1_ecdsa_signature *")
_POINT = ffi.typeof("secp256k1_pubkey *")


@lru_cache(maxsize=bounds.PARSED_KEYS_MAX)
def _point(key33: bytes) -> object | None:
    """The parsed point, None if the bytes are not one. Remembered: decompression costs 5 µs."""
    if len(key33) != 33:
        return None
    point = _new(_POINT)
    return point if lib.secp256k1_ec_pubkey_parse(_context, point, key33, 33) == 1 else None


def verify_spend(key33: bytes, digest32: bytes, signature64: bytes) -> bool:
    """Whether `signature64` (r‖s, low s) over `digest32` is by the compressed key `key33`. Never raises on bytes.

    libsecp256k1 itself refuses r or s that is zero or not below the order, and high s; lengths are checked here, since C
    would read past the end of a shorter buffer.
    """
    point = _point(key33)
    if point is None or len(signature64) != 64 or len(digest32) != 32:
        return False
    signature = _new(_SIGNATURE)
    genuine: bool = (
        _parse_compact(_context, signature, signature64) == 1
        and _verify(_context, signature, digest32, point) == 1
    )
    return genuine


def is_low_s(signature64: bytes) -> bool:
    """Whether s ≤ n/2. High s is refused so that nobody but the signer can vary a signature."""
    return len(signature64) == 64 and signature64[32:] <= _HALF_ORDER


def check_spend_key(key33: bytes) -> bool:
    """Whether the bytes are a compressed point of secp256k1."""
    return _point(key33) is not None


_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P


def _is_small_order(y: int) -> bool:
    """Whether a point with this y has an order that divides 8.

    y = ±1 has order 1 or 2, y = 0 order 4. A point of order 8 doubles to y = 0, so x² = -y², and the curve's equation
    -x² + y² = 1 + dx²y² becomes dy⁴ + 2y² = 1.
    """
    return y in {0, 1, _P - 1} or (_D * pow(y, 4, _P) + 2 * y * y - 1) % _P == 0


@lru_cache(maxsize=bounds.PARSED_KEYS_MAX)
def _vote_key(key32: bytes) -> Ed25519PublicKey | None:
    if len(key32) != 32:
        return None
    y = int.from_bytes(key32, "little") & (2**255 - 1)
    if y >= _P or _is_small_order(y):
        return None
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(x_squared, (_P - 1) // 2, _P) != 1:  # x = 0 is y = ±1, refused above
        return None
    return Ed25519PublicKey.from_public_bytes(key32)


def check_vote_key(key32: bytes) -> bool:
    """Whether the bytes are the canonical encoding of a point of Ed25519 that is not of small order."""
    return _vote_key(key32) is not None


def verify_vote(key32: bytes, message: bytes, signature64: bytes) -> bool:
    """Whether `signature64` over `message` is by `key32`. Never raises on bytes."""
    key = _vote_key(key32)
    if key is None or len(signature64) != 64:
        return False
    try:
        key.verify(signature64, message)
    except InvalidSignature:
        return False
    return True
