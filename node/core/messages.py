"""What nodes say outside consensus: bodies and who holds them, and final blocks for whoever lacks them."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import U64, Hash, Header, Result
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.transactions import SignatureBytes

Raw = Annotated[bytes, Meta(max_length=bounds.TRANSACTION_BYTES_MAX)]
Id = Annotated[BodyId, Meta(min_length=32, max_length=32)]


# -- bodies ------------------------------------------------------------------------------------------------------------


class Forward(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """The sender's clients handed these in: hold them, and sign that you do."""

    bodies: Annotated[tuple[Raw, ...], Meta(max_length=bounds.BODIES_PER_FRAME_MAX)]


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


CatchUpMessage: TypeAlias = AskBlocks | Blocks | AskBlockData | GiveBlockData
CATCH_UP_MESSAGE: Codec[CatchUpMessage] = Codec(CatchUpMessage, bytes_max=bounds.FRAME_BYTES_MAX)
