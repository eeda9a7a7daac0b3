"""A block without its transactions: header, result, outcomes, and the few transactions that took no id.

Who joins from a snapshot keeps the blocks below it so. Decided here: what such a block must show to be believed once its link
is, and which rows follow from it. Outcomes are leaves of `receipts_root` and name the leaves of `tx_root`; with them go the ids
that were taken. A transaction that took none is consumed until its deadline, which stands in its bytes alone, so those
come along. A blank stands in `BlockRecord.bodies` for each transaction that is not here.
Not here: whether the link is certified (`node.upkeep.snapshots`).
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from tallystick.contracts.consumption import TAKES_NO_ID
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.merkle import leaf_hash, root_of
from tallystick.network.proofs.receipts import OUTCOME, Outcome
from tallystick.network.wire.blocks import NO_CHANGE
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.node.core import schema
from tallystick.node.core.layers import Pairs
from tallystick.node.core.ledger import BlockRecord, Ledger
from tallystick.node.core.messages import AskOutlines, BlockOutline, Outlines

RUN_READ_BYTES = 256 * 1024
"""A run closes after the block that brings what was read for it to this: 2 to 4 ms of the serving node."""

BLOCK_BYTES = 700
"""About what a block has beside its transactions and outcomes: header, result, certificate."""

RUN_BLOCKS_MAX = 64
"""And at this many blocks, once the last one has a certificate of its own."""

_encode = msgspec.msgpack.Encoder().encode
_BLANK = b""


def is_whole(record: BlockRecord) -> bool:
    """Whether all of the block's transactions are here."""
    return all(record.bodies)


def body_ids_of(record: BlockRecord) -> list[bytes]:
    """Of all transactions, those that are not here included."""
    if is_whole(record):
        return [body_id(raw) for raw in record.bodies]
    return [OUTCOME.decode(encoded).body_id for encoded in record.outcomes]


def blanked(record: BlockRecord) -> BlockRecord:
    """The record without its transactions, but for those that took no id."""
    kept = [
        raw if OUTCOME.decode(encoded).reason in TAKES_NO_ID else _BLANK
        for raw, encoded in zip(record.bodies, record.outcomes, strict=True)
    ]
    return replace(record, bodies=tuple(kept))


# -- giving ------------------------------------------------------------------------------------------------------------


def outline_of(record: BlockRecord) -> BlockOutline:
    """The record's outline; a record that is one already gives the same."""
    alone = [
        raw
        for raw, encoded in zip(record.bodies, record.outcomes, strict=True)
        if OUTCOME.decode(encoded).reason in TAKES_NO_ID
    ]
    return BlockOutline(record.header, record.result, record.outcomes, tuple(alone))


def outlines_from(ledger: Ledger, asked: AskOutlines, run_bytes_max: int) -> tuple[Outlines, int]:
    """The run that answers, and how many bytes were read for it. It ends with a block's own certificate, at `asked.last`,
    or with an epoch."""
    blocks: list[BlockOutline] = []
    certificate: Certificate | None = None
    complete = read = size = 0
    opens = None
    at = max(1, asked.height)
    while at <= min(ledger.height, asked.last) and len(blocks) < 2 * RUN_BLOCKS_MAX:
        record = ledger.block(at)
        if record is None:
            break
        outline = outline_of(record)
        read += BLOCK_BYTES + sum(map(len, record.bodies)) + sum(map(len, record.outcomes))
        size += BLOCK_BYTES + sum(map(len, outline.alone)) + sum(map(len, record.outcomes))
        if size > run_bytes_max:
            break
        blocks.append(outline)
        own = record.certificate.height == at
        if own or at == asked.last:
            complete, certificate = len(blocks), record.certificate if own else None
            if record.result.next_epoch != NO_CHANGE:
                opens = ledger.opening_of(record.header.epoch + 1)[1]
                break
            if len(blocks) >= RUN_BLOCKS_MAX or read >= RUN_READ_BYTES:
                break
        at += 1
    run = tuple(blocks[:complete])
    return Outlines(asked.height, ledger.height, run, certificate, opens), read


# -- taking ------------------------------------------------------------------------------------------------------------


def check_outline(outline: BlockOutline) -> list[Outcome]:
    """Its outcomes, if everything in it is what its header and result name. `Refused` says what is not."""
    header, result, height = outline.header, outline.result, outline.header.height
    outcomes = [OUTCOME.decode(encoded) for encoded in outline.outcomes]
    if root_of([leaf_hash(encoded) for encoded in outline.outcomes]) != result.receipts_root:
        raise _false(f"the outcomes of block {height} do not give its root")
    if root_of([outcome.body_id for outcome in outcomes]) != header.tx_root:
        raise _false(f"the outcomes of block {height} are not those of its transactions")
    if [(each.height, each.index) for each in outcomes] != [
        (height, index) for index in range(len(outcomes))
    ]:
        raise _false(f"the outcomes of block {height} name other places")
    wanted = [outcome.body_id for outcome in outcomes if outcome.reason in TAKES_NO_ID]
    if [body_id(raw) for raw in outline.alone] != wanted:
        raise _false(f"the transactions of block {height} that took no id are others")
    return outcomes


def rows_of(outline: BlockOutline, outcomes: Sequence[Outcome], certificate: Certificate) -> Pairs:
    """The rows that `Ledger.apply` writes for the block, but for the blanks in its record, its link and its epoch."""
    height, rows = outline.header.height, Pairs()
    bodies: list[bytes] = []
    alone = iter(outline.alone)
    for index, outcome in enumerate(outcomes):
        place = schema.place(height, index)
        if outcome.reason in TAKES_NO_ID:
            raw = next(alone)
            until = decode(raw).valid_until_ms
            rows[schema.REFUSED + outcome.body_id] = place + until.to_bytes(8, "big")
        else:
            raw = _BLANK
            rows[schema.TAKEN + outcome.account + outcome.id] = outcome.digest + place
        bodies.append(raw)
    record = BlockRecord(
        outline.header, outline.result, certificate, tuple(bodies), outline.outcomes
    )
    rows[schema.at_height(schema.BLOCK, height)] = _encode(record)
    return rows


def _false(what: str) -> Refused:
    return Refused(RejectReason.BAD_PROOF, what)
