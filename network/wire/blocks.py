"""Header, result, and the link that is the digest of both (architecture: what is signed).

`link` is order and outcome in one digest. The parent field, the history leaves and every vote use it. The header names no
view: a block that is proposed again in a later view keeps its bytes, its time and its link.
"""

from typing import Annotated

from msgspec import Meta, Struct

from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.ids import Link

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
U64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]

VERSION = 1
NO_CHANGE = bytes(32)
"""`next_epoch` of a block that does not change the member set."""


class Header(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is ordered: position, time and the root over the ordered transactions."""

    version: Annotated[int, Meta(ge=1, lt=2**16)]
    chain: Annotated[int, Meta(ge=1, lt=2**52)]
    lane: Annotated[int, Meta(ge=0, lt=2**16)]
    epoch: U64
    height: U64
    parent_link: Hash
    history_root: Hash
    """RFC 6962 root over the links 0 … height-1."""
    time_ms: U64
    proposer: Annotated[int, Meta(ge=0, lt=2**16)]
    """The first proposer; stays when the block is proposed again by another."""
    tx_root: Hash
    """RFC 6962 root whose leaves are the raw transactions (leaf hash = body id)."""


class Result(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What came out of executing the block on its parent's state."""

    state_root: Hash
    receipts_root: Hash
    next_epoch: Hash = NO_CHANGE


HEADER = Codec(Header, bytes_max=512)
RESULT = Codec(Result, bytes_max=256)

_BLOCK = Tag(b"tallystick/block")
_RESULT = Tag(b"tallystick/result")
_LINK = Tag(b"tallystick/link")
_GENESIS_LINK = Tag(b"tallystick/genesis-link")


def block_hash(header: Header) -> bytes:
    """32 bytes that name the order alone; one link per block hash, for ever."""
    return _BLOCK.hash(HEADER.encode(header))


def link_of(header: Header, result: Result) -> Link:
    """The digest that members vote on."""
    return Link(_LINK.hash(block_hash(header) + _RESULT.hash(RESULT.encode(result))))


def genesis_link(genesis_hash: bytes, state_root: bytes) -> Link:
    """The link of height 0, which has no header: the genesis document and the first state."""
    return Link(_GENESIS_LINK.hash(genesis_hash + state_root))
