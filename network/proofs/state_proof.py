"""How the state map is hashed, and the check of a proof that a key has a value or has none.

    leaf   = H("tallystick/leaf", blind ‖ u16(len key) ‖ key ‖ value)
    bucket = H("tallystick/bucket", (key hash ‖ leaf) …)          at most 32, ascending
    inner  = H("tallystick/inner", u64(keys below) ‖ child 0 … child 15)   more than 32 keys below

An inner node binds how many keys lie below it, so a proof in which 16 children stand where a bucket must
stand is refused. Prefixes are not hashed: a bucket's keys are whole, and must share the path's nibbles.
"""

from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta, Struct

from tallystick.network.wire.blocks import U64
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag

BUCKET_KEYS_MAX: Final = 32
"""Keys in one bucket; part of the format."""

NO_BLIND: Final = bytes(32)
"""Blind of records that hide nothing."""

_LEAF = Tag(b"tallystick/leaf")
_BLIND = Tag(b"tallystick/blind")
# The hot path: joining a prefix costs half of what `Tag.hash` costs. A test holds both equal.
_BUCKET_PREFIX: Final = b"\x11tallystick/bucket"
_INNER_PREFIX: Final = b"\x10tallystick/inner"


def leaf_hash(key: bytes, value: bytes, blind: bytes = NO_BLIND) -> bytes:
    """32 bytes over a record. `key` has at most 65,535 bytes, `blind` 32."""
    return _LEAF.hash(blind + len(key).to_bytes(2, "big") + key + value)


def blind_of(seed: bytes, height: int) -> bytes:
    """The blind of an account that was last written at `height`; `seed`: 16 bytes."""
    return _BLIND.hash(seed + height.to_bytes(8, "big"))


def bucket_hash(entries: bytes) -> bytes:
    """`entries`: 64 bytes each, key hash then leaf hash, ascending."""
    return sha256(_BUCKET_PREFIX + entries).digest()


def inner_hash(node: bytes) -> bytes:
    """`node`: number of keys below it as 8 bytes, then 16 child hashes."""
    return sha256(_INNER_PREFIX + node).digest()


EMPTY_ROOT: Final = bucket_hash(b"")
"""Root of the empty map, and the hash of an empty child."""


def nibble_of(key_hash: bytes, depth: int) -> int:
    """The 4 bits of a key hash that choose the child of a node at `depth`."""
    byte = key_hash[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


class Step(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One inner node on the way to a key."""

    count: U64
    """Keys below the node."""
    siblings: Annotated[bytes, Meta(min_length=15 * 32, max_length=15 * 32)]
    """The hashes of the 15 other children, in order."""


class StateProof(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The bucket in which a key stands or would stand, and the inner nodes above it.

    Shows the key hashes and leaf hashes of up to 31 neighbours, nothing of their values.
    """

    bucket: Annotated[bytes, Meta(max_length=64 * BUCKET_KEYS_MAX)]
    steps: Annotated[tuple[Step, ...], Meta(max_length=64)]
    """From the root downwards."""


STATE_PROOF = Codec(StateProof, bytes_max=64 * 1024)


def verify_state(root: bytes, key_hash: bytes, leaf: bytes | None, proof: StateProof) -> bool:
    """Whether the map of `root` holds exactly `leaf` at `key_hash` (None: holds nothing there).

    Refuses a bucket that is too large, out of order, repeats a key or lies off the key's path, and an
    inner node over so few keys that a bucket must stand there.
    """
    depth, size = len(proof.steps), len(proof.bucket)
    if len(key_hash) != 32 or depth > 64 or size % 64 or size > 64 * BUCKET_KEYS_MAX:
        return False
    keys = [proof.bucket[at : at + 32] for at in range(0, size, 64)]
    if any(left >= right for left, right in pairwise(keys)):
        return False
    prefix = key_hash.hex()[:depth]
    if any(key.hex()[:depth] != prefix for key in keys):
        return False
    held = None
    if key_hash in keys:
        at = 64 * keys.index(key_hash)
        held = proof.bucket[at + 32 : at + 64]
    return held == leaf and _folded(key_hash, proof) == root


def _folded(key_hash: bytes, proof: StateProof) -> bytes | None:
    """The root that the proof leads to; None if a node on the way is not of the one shape."""
    hash_, count = bucket_hash(proof.bucket), len(proof.bucket) // 64
    for depth in range(len(proof.steps) - 1, -1, -1):
        step = proof.steps[depth]
        if not max(count, BUCKET_KEYS_MAX + 1) <= step.count < 2**63 or len(step.siblings) != 480:
            return None
        at = 32 * nibble_of(key_hash, depth)
        children = step.siblings[:at] + hash_ + step.siblings[at:]
        hash_, count = inner_hash(step.count.to_bytes(8, "big") + children), step.count
    return hash_
