"""The block as members pass it round before it is final: header, result, and the ids of its transactions.

The result travels with the proposal, so anybody can recompute the link from the bytes alone; whether the result is right,
each member finds out by executing.
"""

from typing import Annotated

from msgspec import Meta, Struct

from tallystick.consensus.api import Block
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import NO_CHANGE, Header, Result, link_of
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import BodyId, Height, Link


class BlockData(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    header: Header
    result: Result
    ids: Annotated[bytes, Meta(max_length=32 * bounds.BLOCK_TRANSACTIONS_MAX)]
    """Body ids, 32 bytes each, in order."""

    def body_ids(self) -> list[BodyId]:
        ids = self.ids
        return [BodyId(ids[at : at + 32]) for at in range(0, len(ids), 32)]


BLOCK_DATA = Codec(BlockData, bytes_max=bounds.CONSENSUS_MESSAGE_BYTES_MAX)


def block_of(data: BlockData) -> Block:
    """The engine's view of it."""
    return _block(data, BLOCK_DATA.encode(data))


def describe(encoded: bytes) -> Block | None:
    """Read block bytes; None when they are not a block. The link is recomputed, never believed."""
    try:
        data = BLOCK_DATA.decode(encoded)
    except Refused:
        return None
    if len(data.ids) % 32:
        return None
    return _block(data, encoded)


def _block(data: BlockData, encoded: bytes) -> Block:
    header = data.header
    link = link_of(header, data.result)
    closes = data.result.next_epoch != NO_CHANGE
    return Block(Height(header.height), link, Link(header.parent_link), encoded, closes)
