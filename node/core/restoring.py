"""What a start finds on disk, and what the engine is told of it.

Decided here: a guard beside the key that is ahead of the database's copy means a disk that was rolled back or replaced, and
the node refuses to vote. One that is behind only means a crash between the two writes: it catches up before anything leaves.
"""

from tallystick.consensus import api
from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.ids import Link, NodeId
from tallystick.node.core import schema
from tallystick.node.core.block_data import BLOCK_DATA, block_of, describe
from tallystick.node.core.judging import Judging
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.ports import GuardRecord, VerifyVote, VoteSigner


class Crypto:
    """The engine's signatures: our vote key, and whatever checks the others'."""

    __slots__ = ("_verify", "sign")

    def __init__(self, signer: VoteSigner, verify: VerifyVote) -> None:
        self.sign = signer.sign
        self._verify = verify

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        return self._verify(key, message, signature)


def setup_of(ledger: Ledger, me: NodeId) -> api.Setup:
    """Who votes about what, from the genesis document."""
    parameters = ledger.genesis.parameters
    timing = api.Timing(
        parameters.view_timeout_ms, parameters.view_timeout_ms_max, parameters.idle_block_ms
    )
    first = ledger.store.get(schema.at_height(schema.LINK, 0))
    return api.Setup(
        me,
        ledger.members.vote_keys,
        ledger.chain,
        ledger.genesis.lane,
        ledger.members.epoch,
        Link(first) if first is not None else ledger.link,
        parameters.pipeline,
        parameters.block_transactions_max,
        timing,
        describe,
    )


def restored(ledger: Ledger, judging: Judging, guard: GuardRecord) -> api.Restored:
    """The engine's part of the database. `OperationalError` when the guard is ahead of it. Uncommitted blocks go to
    `judging` too."""
    store = ledger.store
    in_database = store.get(schema.GUARD)
    if _sequence(guard.read()) > _sequence(in_database):
        raise OperationalError(
            "the double-sign guard is ahead of the database: this disk was rolled back or replaced;"
            " the node must not vote under this id. Restore the newer disk, or bring the bank back under its spare id"
        )
    blocks: list[api.Block] = []
    for key, value in store.scan(schema.PENDING):
        try:
            data = BLOCK_DATA.decode(value)
        except Refused as refused:
            raise forgotten(f"block {key[1:].hex()}, kept before a vote: {refused}") from None
        if data.header.height > ledger.height and data.header.epoch == ledger.members.epoch:
            judging.hold(Link(key[1:]), data, needed=True)
            blocks.append(block_of(data))
    return api.Restored(
        store.get(schema.ENGINE),
        in_database,
        ledger.certificate,
        ledger.height,
        ledger.link,
        blocks,
    )


def no_longer_pending(ledger: Ledger) -> dict[bytes, bytes | None]:
    """Rows of blocks that were kept before a vote and are final, or beaten, by now."""
    rows = list(ledger.store.scan(schema.PENDING))
    final = ledger.height
    return {key: None for key, data in rows if BLOCK_DATA.decode(data).header.height <= final}


def next_epoch(ledger: Ledger, guard: bytes | None) -> api.Restored:
    """What an engine of the epoch that has just begun is told: nothing was said in it yet. `guard`: its newest record."""
    return api.Restored(None, guard, ledger.certificate, ledger.height, ledger.link, ())


def guard_to_repeat(ledger: Ledger, guard: GuardRecord) -> bytes | None:
    """The database's record, if a crash fell between it and the guard's: to be written beside the key first."""
    in_database = ledger.store.get(schema.GUARD)
    return in_database if guard.read() != in_database else None


def forgotten(what: str) -> OperationalError:
    """A record of promises is damaged: nobody else knows what this node signed."""
    return OperationalError(
        f"the record of what this node has promised is damaged ({what}). A member that may have forgotten a vote must not"
        f" vote again: bring the bank back under its spare id and keep this folder"
    )


def _sequence(record: bytes | None) -> int:
    try:
        return GUARD_RECORD.decode(record).sequence if record is not None else 0
    except Refused as refused:
        raise forgotten(f"the guard's record: {refused}") from None
