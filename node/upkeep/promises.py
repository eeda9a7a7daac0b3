"""What this node has promised, as its database remembers it: votes (engine, guard, blocks kept before a vote) and payments that
it holds for others. Evidence against others proves itself and comes along as far as it can be read.

Decided here: these rows are carried over as they are or the node is refused. A member that may have forgotten a vote and votes
again under its id betrays its bank; nothing can rebuild that memory, for nobody else has it. Not here: the guard's file, which
is read and never written.
"""

from dataclasses import dataclass

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import EngineName
from tallystick.node.core import schema
from tallystick.node.core.block_data import BLOCK_DATA
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.rows import Damaged, read, row_fault

WAY_OUT = (
    "A member that may have forgotten a vote must not vote again under its id, and nobody else can tell it what it signed."
    " The way out is the bank's spare id: activate it, give it new keys, a new guard and an empty data folder, and let it"
    " catch up. Keep this folder as evidence"
)


class Forgotten(OperationalError):
    """The record of promises is damaged: this id is finished."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. {WAY_OUT}.")


@dataclass(frozen=True, slots=True)
class Promises:
    """Rows to carry over."""

    rows: dict[bytes, bytes]
    lost_batches: tuple[str, ...] = ()
    """Sentences about batches of held payments that cannot be read; f other members hold each of them."""


def promises_of(
    store: Store, engine: EngineName, height: int, guard_record: bytes | None
) -> Promises:
    """Every promise above `height`. `guard_record`: the one beside the key, None if it never signed.

    `Forgotten` when a row is damaged, or the guard is ahead of the database.
    """
    rows: dict[bytes, bytes] = {}
    for key, name in ((schema.GUARD, "guard"), (schema.ENGINE, "consensus")):
        try:
            value = read(store, key)
        except Damaged as damaged:
            raise Forgotten(f"the database's {name} record is damaged: {damaged}") from None
        if value is None:
            continue
        if (fault := row_fault(key, value, engine)) is not None:
            raise Forgotten(f"the database's {name} record is damaged: it {fault}")
        rows[key] = value
    if _sequence(guard_record) > _sequence(rows.get(schema.GUARD)):
        raise Forgotten("the double-sign guard is ahead of the database")
    rows.update(_pending(store, engine, height))
    batches, lost = _readable(store, schema.BATCH, "held payments", engine)
    evidence, _ = _readable(store, schema.EVIDENCE, "evidence", engine)
    checkpoints, _ = _readable(store, schema.CHECKPOINT, "checkpoints", engine)
    return Promises(rows | batches | evidence | checkpoints | _said(store, engine), lost)


def _said(store: Store, engine: EngineName) -> dict[bytes, bytes]:
    """Of checkpoints, as far as it can be read. Nothing that excludes it can be signed: what it says follows from the ledger."""
    rows: dict[bytes, bytes] = {}
    for key in (schema.CHECKPOINT_SAID, schema.CHECKPOINT_NEWEST):
        try:
            value = read(store, key)
        except Damaged:
            continue
        if value is not None and row_fault(key, value, engine) is None:
            rows[key] = value
    return rows


def _pending(store: Store, engine: EngineName, height: int) -> dict[bytes, bytes]:
    """Blocks above the last final one that we have voted for."""
    rows: dict[bytes, bytes] = {}
    try:
        for key, value in store.scan(schema.PENDING):
            if (fault := row_fault(key, value, engine)) is not None:
                raise Forgotten(
                    f"the block {key[1:].hex()}, kept before a vote, is damaged: it {fault}"
                )
            if BLOCK_DATA.decode(value).header.height > height:
                rows[key] = value
    except OperationalError as error:
        if isinstance(error, Forgotten):
            raise
        raise Forgotten(f"the blocks kept before votes cannot be read: {error}") from None
    return rows


def _readable(
    store: Store, table: bytes, name: str, engine: EngineName
) -> tuple[dict[bytes, bytes], tuple[str, ...]]:
    """The rows of a table that are whole, and a sentence for each that is not."""
    rows: dict[bytes, bytes] = {}
    lost: list[str] = []
    try:
        for key, value in store.scan(table):
            fault = row_fault(key, value, engine)
            if fault is None:
                rows[key] = value
            else:
                lost.append(f"a row of {name}, {key[1:].hex()}: {fault}")
    except OperationalError as error:
        lost.append(f"{name} cannot be read: {error}")
    return rows, tuple(lost)


def _sequence(record: bytes | None) -> int:
    if record is None:
        return 0
    try:
        return GUARD_RECORD.decode(record).sequence
    except Refused as refused:
        raise Forgotten(f"the guard's record does not decode: {refused.detail}") from None
