"""Level 1: every row of the database by itself. Keys have their table's form, values decode and encode to the same bytes,
heights are complete.

LevelDB's checksums are on for every read; a block of its file that fails them hides all rows in it, so the finding names the
last row before it. Not here: what rows say about each other (`chain`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.consensus.pbft.state import RECORD as PBFT_RECORD
from tallystick.consensus.raft.state import RECORD as RAFT_RECORD
from tallystick.contracts.state import (
    ASSET,
    MEMBERS_KEY,
    MEMBERSHIP,
    PARTICIPANT,
    Account,
)
from tallystick.network.proofs.checkpoints import KEPT
from tallystick.network.proofs.evidence import EVIDENCE
from tallystick.network.proofs.windows import (
    ENTRY_BYTES,
    WINDOWS_KEY,
    WINDOWS_MARK,
    window_record,
)
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import EngineName
from tallystick.network.wire.membership import EPOCH_MEMBERS
from tallystick.network.wire.signing import batch_digest
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.block_data import describe
from tallystick.node.core.checkpoints import SHARE
from tallystick.node.core.ledger import BLOCK_RECORD, BlockRecord
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.findings import Findings, Level, Progress

_PROGRESS_ROWS = 20_000
"""Rows between two words to whoever waits: about a tenth of a second."""

_encode = msgspec.msgpack.Encoder().encode
_ACCOUNT_ROW = msgspec.msgpack.Decoder(tuple[int, bytes, bytes])
_BODIES = msgspec.msgpack.Decoder(list[bytes])
_RECORD_CODECS = (
    (b"asset/", ASSET),
    (b"participant/", PARTICIPANT),
)

Fault = str | None
"""Why a row is not what it must be."""


class Damaged(Exception):
    """A row that cannot be believed; the sentence says why."""


def block_record(value: bytes) -> BlockRecord:
    """The record, or `Damaged`."""
    try:
        record = BLOCK_RECORD.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"does not decode: {error}") from None
    if _encode(record) != value:
        raise Damaged("is not in its one encoding")
    return record


def read_block(store: Store, height: int) -> BlockRecord:
    """The block at `height` if its row is there and whole by itself, else `Damaged`."""
    value = read(store, schema.at_height(schema.BLOCK, height))
    if value is None:
        raise Damaged("is missing")
    record = block_record(value)
    if record.header.height != height:
        raise Damaged(f"holds block {record.header.height}")
    return record


def account_row(value: bytes) -> tuple[int, bytes, bytes]:
    """(height of the last write, seed, value), or `Damaged`."""
    try:
        return _ACCOUNT_ROW.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"does not decode: {error}") from None


def read(store: Store, key: bytes) -> bytes | None:
    """One value, or `Damaged` where the disk's own checksum fails."""
    try:
        return store.get(key)
    except OperationalError as error:
        raise Damaged(str(error)) from None


def final_of(value: bytes | None) -> tuple[int, bytes]:
    """(height, link) of the row of the last final block, or `Damaged`."""
    if value is None:
        raise Damaged("is missing")
    if len(value) != 40:
        raise Damaged(f"has {len(value)} bytes, not 40")
    return int.from_bytes(value[:8], "big"), value[8:]


def last_final(store: Store) -> tuple[int, bytes, Fault]:
    """(height, link, what is wrong with the row that says so).

    A row whose height has no link is not believed: a flipped bit in it may speak of 2**60 blocks. The last final block is then
    as far as links or blocks go without a gap.
    """
    try:
        height, link = final_of(read(store, schema.FINAL))
        if _has(store, schema.at_height(schema.LINK, height)):
            return height, link, None
        fault = f"speaks of block {height}, which has no link"
    except Damaged as damaged:
        fault = str(damaged)
    height = highest(store, 0)
    try:
        return height, read(store, schema.at_height(schema.LINK, height)) or b"", fault
    except Damaged:
        return height, b"", fault


def highest(store: Store, height: int) -> int:
    """As far above `height` as links or blocks go without a gap: a damaged row must not shorten a ledger."""
    tables = (schema.LINK, schema.BLOCK)
    while any(_has(store, schema.at_height(table, height + 1)) for table in tables):
        height += 1
    return height


def _has(store: Store, key: bytes) -> bool:
    """Whether there is a row, be it one that the disk cannot read any more."""
    try:
        return read(store, key) is not None
    except Damaged:
        return True


# -- one row -----------------------------------------------------------------------------------------------------------


def _meta(key: bytes, value: bytes, engine: EngineName) -> Fault:
    match key:
        case schema.FINAL:
            final_of(value)
        case schema.ENGINE:
            (PBFT_RECORD if engine == "pbft" else RAFT_RECORD).decode(value)
        case schema.GUARD:
            GUARD_RECORD.decode(value)
        case schema.CHECKPOINT_SAID:
            SHARE.decode(value)
        case schema.CHECKPOINT_NEWEST | schema.WHOLE_FROM:
            return None if len(value) == 8 else "is no height"
        case _:
            return "this release knows no such row"
    return None


def _account(key: bytes, value: bytes, engine: EngineName) -> Fault:
    row = _ACCOUNT_ROW.decode(value)
    if len(key) != 21 or len(row[1]) != 16 or row[0] < 0 or _encode(row) != value:
        return "has not the form of an account's row"
    if Account.decode(row[2], row[1]).encode() != row[2]:
        return "is not in its one encoding"
    return None


def _record(key: bytes, value: bytes, engine: EngineName) -> Fault:
    name = key[1:]
    if name == MEMBERS_KEY:
        MEMBERSHIP.decode(value)
    if name == WINDOWS_KEY:
        WINDOWS_MARK.decode(value)
    if name.startswith(b"window/"):
        window_record(value)
    for prefix, codec in _RECORD_CODECS:
        if name.startswith(prefix):
            codec.decode(value)
    return None


def _taken(key: bytes, value: bytes, engine: EngineName) -> Fault:
    return (
        None if (len(key), len(value)) == (53, 44) else "has another length than its table's rows"
    )


def _refused(key: bytes, value: bytes, engine: EngineName) -> Fault:
    return (
        None if (len(key), len(value)) == (33, 20) else "has another length than its table's rows"
    )


def _consumed(key: bytes, value: bytes, engine: EngineName) -> Fault:
    whole = len(key) == 17 and value and len(value) % ENTRY_BYTES == 0
    return None if whole else "has another length than its table's rows"


def _block(key: bytes, value: bytes, engine: EngineName) -> Fault:
    if len(key) != 9:
        return "its key is no height"
    height = block_record(value).header.height
    return None if height == schema.height_in(key) else f"holds block {height}"


def _link(key: bytes, value: bytes, engine: EngineName) -> Fault:
    return None if (len(key), len(value)) == (9, 32) else "has another length than its table's rows"


def _epoch(key: bytes, value: bytes, engine: EngineName) -> Fault:
    if len(key) != 9:
        return "its key is no epoch"
    epoch = EPOCH_MEMBERS.decode(value[8:]).epoch
    return None if epoch == schema.height_in(key) else f"holds the members of epoch {epoch}"


def _pending(key: bytes, value: bytes, engine: EngineName) -> Fault:
    block = describe(value)
    if block is None:
        return "is not a block"
    return None if block.link == key[1:] else "stands under another block's link"


def _batch(key: bytes, value: bytes, engine: EngineName) -> Fault:
    raws = _BODIES.decode(value)
    digest = batch_digest([body_id(raw) for raw in raws])
    return None if digest == key[1:] else "its transactions are not those that its key names"


def _evidence(key: bytes, value: bytes, engine: EngineName) -> Fault:
    EVIDENCE.decode(value)
    return None if len(key) == 28 else "its key is no position"


def _checkpoint(key: bytes, value: bytes, engine: EngineName) -> Fault:
    if len(key) != 9:
        return "its key is no height"
    height = KEPT.decode(value).checkpoint.statement.height
    return None if height == schema.height_in(key) else f"holds the checkpoint of height {height}"


_CHECKS: dict[bytes, Callable[[bytes, bytes, EngineName], Fault]] = {
    schema.FINAL[:1]: _meta,
    schema.ACCOUNT: _account,
    schema.RECORD: _record,
    schema.TAKEN: _taken,
    schema.REFUSED: _refused,
    schema.CONSUMED: _consumed,
    schema.BLOCK: _block,
    schema.LINK: _link,
    schema.EPOCH: _epoch,
    schema.PENDING: _pending,
    schema.BATCH: _batch,
    schema.EVIDENCE: _evidence,
    schema.CHECKPOINT: _checkpoint,
}


def row_fault(key: bytes, value: bytes, engine: EngineName) -> Fault:
    """Why this row cannot be believed by itself, None if it can."""
    check = _CHECKS.get(key[:1])
    if check is None:
        return "this release knows no such table"
    try:
        return check(key, value, engine)
    except Refused as refused:
        return f"does not decode: {refused.detail}"
    except (Damaged, msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)


# -- all rows ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """What level 1 has seen."""

    rows: int = 0
    of: dict[bytes, int] = field(default_factory=dict)
    """Rows by table."""


def check_rows(
    store: Store, engine: EngineName, height: int, findings: Findings, progress: Progress
) -> Counts:
    """Every row of every table; `height`: the last final block, up to which blocks and links must be complete."""
    counts = Counts()
    for table in sorted({*_CHECKS, *_strangers(store)}):
        last, seen = table, 0
        try:
            for key, value in store.scan(table):
                fault = row_fault(key, value, engine)
                if fault is not None:
                    findings.add(Level.RECORDS, key, fault, height_of(key))
                last, seen = key, seen + 1
                if seen % _PROGRESS_ROWS == 0:
                    progress("records", counts.rows + seen, 0)
        except OperationalError as error:
            findings.add(Level.RECORDS, last, f"the row after this one: {error}", height_of(last))
        counts.of[table] = seen
        counts.rows += seen
    for table, first in ((schema.BLOCK, 1), (schema.LINK, 0)):
        if counts.of[table] != height + 1 - first:
            _check_complete(store, table, first, height, findings)
    progress("records", counts.rows, counts.rows)
    return counts


def _strangers(store: Store) -> Iterator[bytes]:
    """First bytes that no table of ours has. Where the disk cannot tell, the scan of a known table says so."""
    for first in range(256):
        letter = bytes([first])
        if letter not in _CHECKS:
            try:
                if next(store.scan(letter), None) is not None:
                    yield letter
            except OperationalError:
                continue


def _check_complete(
    store: Store, table: bytes, first: int, height: int, findings: Findings
) -> None:
    """Every height from `first` to `height` has its row, and none stands above. Asked one by one: a scan stops at damage."""
    for at in range(first, height + 1):
        key = schema.at_height(table, at)
        try:
            if store.get(key) is None:
                findings.add(Level.RECORDS, key, "is missing", at)
        except OperationalError as error:
            findings.add(Level.RECORDS, key, str(error), at)
    try:
        for key, _ in store.scan(table):
            if schema.height_in(key) > height:
                above = schema.height_in(key)
                findings.add(
                    Level.RECORDS, key, f"stands above the last final block {height}", above
                )
    except OperationalError:
        return  # told by the scan of all rows


def height_of(key: bytes) -> int | None:
    """The height that a key of a block or a link names."""
    return (
        schema.height_in(key) if key[:1] in (schema.BLOCK, schema.LINK) and len(key) == 9 else None
    )
