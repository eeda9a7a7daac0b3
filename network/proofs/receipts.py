"""The receipt: what became of one transaction, and all that is needed to check it against the genesis file.

`Outcome` is the leaf of the block's receipts tree. `BlockProof` is shared by all receipts of a block. A block that was
certified only through a descendant carries an `Anchor`: the descendant's header holds the history root.
Not here: the check itself (`verify`).
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import U64, Hash, Header, Result
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.membership import EpochMembers

Path = Annotated[tuple[Hash, ...], Meta(max_length=bounds.MERKLE_PATH_MAX)]


class Status(IntEnum):
    """What became of it. Today each is final; interim states (queued, held) get numbers of their own."""

    SETTLED = 1
    REJECTED = 2
    EXPIRED = 3


class Cause(IntEnum):
    """Why this receipt exists."""

    TRANSACTION = 0


class Finding(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """One AML rule's decision about this payment, with what it saw. Amounts in minor units of the payment's asset."""

    rule: Annotated[int, Meta(ge=1, le=30)]
    version: U64
    outcome: Annotated[int, Meta(ge=0, le=3)]
    """0 ALLOW, 1 REPORT, 2 HOLD, 3 REJECT."""
    observed_minor: U64
    threshold_minor: U64
    headroom_minor: U64
    """What may still leave after this decision."""


class Outcome(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """The leaf of the receipts tree: leaf hash = SHA-256(0x00 ‖ encoding)."""

    version: Annotated[int, Meta(ge=1, lt=2**16)]
    lane: Annotated[int, Meta(ge=0, lt=2**16)]
    height: U64
    index: U64
    cause: Annotated[int, Meta(ge=0, lt=256)]
    body_id: Hash
    digest: Hash
    kind: Annotated[int, Meta(ge=0, lt=256)]
    account: Annotated[bytes, Meta(min_length=20, max_length=20)]
    id: Hash
    status: Annotated[int, Meta(ge=1, le=255)]
    final: bool
    reason: Annotated[int, Meta(ge=0, lt=65536)]
    """Number of the `RejectReason`; 0 when settled."""
    findings: Annotated[tuple[Finding, ...], Meta(max_length=64)] = ()
    opened: Annotated[bytes, Meta(max_length=20)] = b""
    """The account that an OpenAccount was given; empty otherwise."""


OUTCOME = Codec(Outcome, bytes_max=8_192)


class Anchor(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A later certified block whose history root covers the receipt's block."""

    header: Header
    result: Result
    path: Path
    """Inclusion of the block's link at index `height` in a tree of `anchor.header.height` links."""


class EpochStep(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One change of members: the last block of an epoch, certified by that epoch's members, and the set that it opens."""

    header: Header
    result: Result
    """Its `next_epoch` is the digest of `members`."""
    certificate: Certificate
    """Over this block's own link."""
    members: EpochMembers


class BlockProof(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What all receipts of one block share.

    The sizes of its trees are not here: no signature covers them, and paths are checked without
    (`merkle.root_of_path`).
    """

    header: Header
    result: Result
    certificate: Certificate
    """Over this block's link, or over the anchor's."""
    anchor: Anchor | None = None
    epochs: Annotated[tuple[EpochStep, ...], Meta(max_length=bounds.EPOCHS_PROVEN_MAX)] = ()
    """From genesis to the certificate's epoch, one step for each change; empty in epoch 0."""


class Receipt(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One receipt, complete."""

    version: Annotated[int, Meta(ge=1, lt=2**16)]
    transaction: Annotated[bytes, Meta(max_length=bounds.TRANSACTION_BYTES_MAX)]
    outcome: Outcome
    transaction_path: Path
    outcome_path: Path
    block: BlockProof


class BundleItem(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One receipt's own part inside a bundle."""

    outcome: Outcome
    transaction_path: Path
    outcome_path: Path


class Bundle(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Receipts of one block for one client: the block's proof once, then each receipt's own part.

    The client has the transactions: `receipt_of` joins them.
    """

    block: BlockProof
    items: Annotated[tuple[BundleItem, ...], Meta(max_length=bounds.BLOCK_TRANSACTIONS_MAX)]


BLOCK_PROOF = Codec(BlockProof, bytes_max=bounds.RECEIPT_BYTES_MAX)
RECEIPT = Codec(Receipt, bytes_max=bounds.RECEIPT_BYTES_MAX)
BUNDLE = Codec(Bundle, bytes_max=bounds.FRAME_BYTES_MAX)


def receipt_of(transaction: bytes, block: BlockProof, item: BundleItem) -> Receipt:
    """The complete receipt of one item. It proves nothing until `verify` has checked it."""
    return Receipt(1, transaction, item.outcome, item.transaction_path, item.outcome_path, block)
