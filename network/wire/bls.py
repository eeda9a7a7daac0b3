"""BLS12-381 signatures for checkpoints: keys in G1 (48 bytes), signatures in G2 (96 bytes), any number of signers in one signature.

draft-irtf-cfrg-bls-signature, minimal-pubkey-size, the proof-of-possession ciphersuite; curve arithmetic by arkworks.
Decided here: which bytes are a key or a signature. A point has one encoding: what does not encode back to itself is refused, and so
are the identity and points outside the subgroup. Aggregation is over one message, which is safe only for keys whose holder proved
possession: whoever admits a key calls `verify_possession` first. Not here: who signs, what is signed (`signing`), secrets at rest.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import invariant

KEY_BYTES: Final = 48
SIGNATURE_BYTES: Final = 96
SECRET_BYTES: Final = 32

SIGNATURE_DST: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
POSSESSION_DST: Final = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"

_MINUS_G1: Final = -G1Point()
_G1_IDENTITY: Final = G1Point.identity()
_G2_IDENTITY: Final = G2Point.identity()


@lru_cache(maxsize=bounds.PARSED_KEYS_MAX)
def _key(key48: bytes) -> G1Point | None:
    """The parsed key, None if the bytes are not one. Remembered: the subgroup check costs as much as a few additions of points."""
    if len(key48) != KEY_BYTES:
        return None
    try:
        point = G1Point.from_compressed_bytes(key48)
    except ValueError:
        return None
    # arkworks takes any bytes with the infinity bit for the identity, so equality of bytes is what refuses them.
    if point == _G1_IDENTITY or point.to_compressed_bytes() != key48:
        return None
    return point


def _signature(signature96: bytes) -> G2Point | None:
    if len(signature96) != SIGNATURE_BYTES:
        return None
    try:
        point = G2Point.from_compressed_bytes(signature96)
    except ValueError:
        return None
    if point == _G2_IDENTITY or point.to_compressed_bytes() != signature96:
        return None
    return point


def check_key(key48: bytes) -> bool:
    """Whether the bytes are the one encoding of a point of G1's subgroup that is not the identity."""
    return _key(key48) is not None


def check_signature(signature96: bytes) -> bool:
    """Whether the bytes are the one encoding of a point of G2's subgroup that is not the identity."""
    return _signature(signature96) is not None


def core_aggregate_verify(
    keys: Sequence[bytes], messages: Sequence[bytes], signature96: bytes, dst: bytes
) -> bool:
    """CoreAggregateVerify (section 2.9): key i signed message i, all in one signature. Never raises on bytes.

    Distinct messages, or possession of every key, are the caller's business, as in the draft.
    """
    point = _signature(signature96)
    if point is None or not keys or len(keys) != len(messages):
        return False
    lefts, rights = [_MINUS_G1], [point]
    for key48, message in zip(keys, messages, strict=True):
        key = _key(key48)
        if key is None:
            return False
        lefts.append(key)
        rights.append(G2Point.hash_to_curve(message, dst))
    return GT.pairing_check(lefts, rights)


def verify(key48: bytes, message: bytes, signature96: bytes) -> bool:
    """Whether one signature by one key is genuine."""
    return core_aggregate_verify((key48,), (message,), signature96, SIGNATURE_DST)


def verify_possession(key48: bytes, proof96: bytes) -> bool:
    """PopVerify (section 3.3.3): the holder of the key's secret signed the key itself, under a tag of its own."""
    return core_aggregate_verify((key48,), (key48,), proof96, POSSESSION_DST)


def aggregate(signatures: Sequence[bytes]) -> bytes | None:
    """One signature of 96 bytes for all of them; None if one is not a signature, there are none, or they cancel out."""
    points = [_signature(each) for each in signatures]
    total = _G2_IDENTITY
    for point in points:
        if point is None:
            return None
        total = total + point
    return None if total == _G2_IDENTITY else total.to_compressed_bytes()


def verify_aggregate(keys: Sequence[bytes], message: bytes, signature96: bytes) -> bool:
    """FastAggregateVerify (section 3.3.4): every key signed `message`. Two pairings, however many keys. Never raises on bytes.

    Possession of each key must have been proven, and each key stands once: a member set sees to both.
    """
    point = _signature(signature96)
    total = _G1_IDENTITY
    for key48 in keys:
        key = _key(key48)
        if key is None:
            return False
        total = total + key
    if point is None or total == _G1_IDENTITY:
        return False
    return GT.pairing_check(
        [_MINUS_G1, total], [point, G2Point.hash_to_curve(message, SIGNATURE_DST)]
    )


class SecretKey:
    """A secret in memory. Prints nothing of itself."""

    __slots__ = ("_scalar", "public_key")

    def __init__(self, secret32: bytes) -> None:
        """`ValueError` unless the 32 bytes (big-endian) are above zero and below the group's order."""
        if len(secret32) != SECRET_BYTES:
            raise ValueError(f"a BLS secret has {SECRET_BYTES} bytes")
        self._scalar = Scalar.from_be_bytes(secret32)
        if self._scalar.is_zero():
            raise ValueError("a BLS secret is not zero")
        self.public_key: bytes = (G1Point() * self._scalar).to_compressed_bytes()
        """48 bytes."""

    @classmethod
    def from_random(cls, random48: bytes) -> "SecretKey":
        """A secret from 48 uniform bytes, reduced as KeyGen (section 2.3) does with its own: a bias of 2**-129."""
        invariant(len(random48) == 48, "a BLS secret is made of 48 bytes", bytes=len(random48))
        return cls(Scalar.from_be_bytes_mod_order(random48).to_be_bytes())

    def sign(self, message: bytes, dst: bytes = SIGNATURE_DST) -> bytes:
        """96 bytes, the same for the same message."""
        return (G2Point.hash_to_curve(message, dst) * self._scalar).to_compressed_bytes()

    def prove_possession(self) -> bytes:
        """96 bytes: PopProve (section 3.3.2)."""
        return self.sign(self.public_key, POSSESSION_DST)

    def to_bytes(self) -> bytes:
        """The 32 bytes, for whoever writes the key file."""
        return self._scalar.to_be_bytes()
