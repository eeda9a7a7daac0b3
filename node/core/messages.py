"""What nodes say outside consensus: bodies and who holds them, and final blocks for whoever lacks them."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import U64, Hash, Header, Result
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.membership import EpochMembers
from tallystick.network.wire.transactions import SignatureBytes

Raw = Annotated[bytes, Meta(max_length=bounds.TRANSACTION_BYTES_MAX)]
Id = Annotated[BodyId, Meta(min_length=32, max_length=32)]


# -- bodies ------------------------------------------------------------------------------------------------------------


class Forward(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """The sender's clients handed these in, or have waited for long: hold them until they are ordered."""

    bodies: Annotated[tuple[Raw, ...], Meta(max_length=bounds.BODIES_PER_FRAME_MAX)]
    sign: bool = True
    """Say with a signature that you have a durable copy of all of them: somebody waits for that."""


class Held(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """The sender has a durable copy of every transaction of the batch."""

    batch: Hash
    signature: SignatureBytes


class AskBodies(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    ids: Annotated[tuple[Id, ...], Meta(max_length=bounds.BODIES_PER_FRAME_MAX)]


class GiveBodies(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    bodies: Annotated[tuple[Raw, ...], Meta(max_length=bounds.BODIES_PER_FRAME_MAX)]


BodyMessage: TypeAlias = Forward | Held | AskBodies | GiveBodies
BODY_MESSAGE: Codec[BodyMessage] = Codec(BodyMessage, bytes_max=bounds.BODIES_FRAME_BYTES_MAX)


# -- catching up -------------------------------------------------------------------------------------------------------


class AskBlocks(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """Final blocks from this height on, as many as fit."""

    height: U64


class FinalBlock(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    header: Header
    result: Result
    bodies: Annotated[tuple[Raw, ...], Meta(max_length=bounds.BLOCK_TRANSACTIONS_MAX)]


class Blocks(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """A run of final blocks; the certificate is over the last one. Empty: the sender has none from there on."""

    height: U64
    """What was asked for."""
    final_height: U64
    """Where the sender stands: a claim, never a target."""
    blocks: Annotated[tuple[FinalBlock, ...], Meta(max_length=2 * bounds.CATCH_UP_BLOCKS_MAX)]
    certificate: Certificate | None


class AskBlockData(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """An uncommitted ancestor that the sender lacks."""

    link: Hash


class GiveBlockData(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    data: Annotated[bytes, Meta(max_length=bounds.CONSENSUS_MESSAGE_BYTES_MAX)]


# -- joining from a snapshot -------------------------------------------------------------------------------------------


class AskOutlines(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=5):
    """Final blocks without their transactions, from `height` to `last` at most, as many as fit."""

    height: U64
    last: U64


class BlockOutline(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a block decided, and not what it was asked. Every byte is covered by its link (`outlines.check_outline`)."""

    header: Header
    result: Result
    outcomes: Annotated[
        tuple[Annotated[bytes, Meta(max_length=8_192)], ...],
        Meta(max_length=bounds.BLOCK_TRANSACTIONS_MAX),
    ]
    alone: Annotated[tuple[Raw, ...], Meta(max_length=bounds.BLOCK_TRANSACTIONS_MAX)]
    """The transactions that took no id, in their order: until their deadlines they may not be ordered again, and no
    outcome names a deadline."""


class Outlines(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=6):
    """A run of outlines; empty: the sender has no final block from there on. The certificate is over the last one; None
    where that is the `last` which was asked for and a later block's certificate covers it."""

    height: U64
    """What was asked for."""
    final_height: U64
    blocks: Annotated[tuple[BlockOutline, ...], Meta(max_length=2 * bounds.CATCH_UP_BLOCKS_MAX)]
    certificate: Certificate | None
    opens: EpochMembers | None
    """Who votes in the epoch that the last block opens, if it closes one."""


class AskState(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=7):
    """Chunk `number` of the state after block `height`; 0 and 0: of the last final block, from the beginning."""

    height: U64
    number: U64


class StateChunk(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=8):
    """Some rows of accounts, records and windows' entries, each once, in the sender's order."""

    height: U64
    number: U64
    certificate: Certificate | None
    """Over that block, with chunk 0."""
    rows: Annotated[
        tuple[
            tuple[
                Annotated[bytes, Meta(min_length=2, max_length=512)],
                Annotated[bytes, Meta(max_length=bounds.STATE_ROW_BYTES_MAX)],
            ],
            ...,
        ],
        Meta(max_length=bounds.STATE_ROWS_MAX),
    ]
    last: bool


class StateGone(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=9):
    """The sender does not hold that state (any more): begin anew, here or elsewhere."""

    height: U64


class NotNow(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=10):
    """Settling comes first: ask again after so long."""

    wait_ms: Annotated[int, Meta(ge=0, le=60_000)]


class BelowSnapshot(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=11):
    """An answer to `AskBlocks`: the sender joined from a snapshot and has transactions from `whole_from` on only."""

    height: U64
    """What was asked for."""
    whole_from: U64


CatchUpMessage: TypeAlias = (
    AskBlocks
    | Blocks
    | AskBlockData
    | GiveBlockData
    | AskOutlines
    | Outlines
    | AskState
    | StateChunk
    | StateGone
    | NotNow
    | BelowSnapshot
)
CATCH_UP_MESSAGE: Codec[CatchUpMessage] = Codec(CatchUpMessage, bytes_max=bounds.FRAME_BYTES_MAX)
