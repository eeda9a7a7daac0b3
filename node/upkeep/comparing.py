"""`tallystick ledger compare`: where two ledgers part, to the block, the transaction and the key, with the evidence of both.

Links chain, so two ledgers that part once stay apart and halving finds the first height. Two different headers there mean that
the same height was ordered twice; one header with two results means that one order was executed differently, and this
release's own execution says with whom it agrees. Decided here: what the bundle holds. Not here: who is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from msgspec import Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.document import to_document
from tallystick.network.proofs.receipts import OUTCOME
from tallystick.network.wire.blocks import Header, Result
from tallystick.network.wire.faults import InvariantError, OperationalError, Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import whole_from
from tallystick.node.core.outlines import body_ids_of, is_whole
from tallystick.node.core.ports import Store
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.findings import TABLES, Findings, Progress, silent
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.replaying import DERIVED, Replay, differing
from tallystick.node.upkeep.rows import Damaged, final_of, read, read_block

KEYS_MAX = 100
"""Differing keys in a bundle; the first one is what matters."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One block as a side shows it; bodies or outcomes None where it does not show them."""

    header: Header
    result: Result
    certificate: Certificate | None
    body_ids: tuple[bytes, ...]
    bodies: tuple[bytes, ...] | None
    outcomes: tuple[bytes, ...] | None


class Side(Protocol):
    """One of the two ledgers. Its methods raise `OperationalError` where it cannot be read."""

    @property
    def name(self) -> str: ...
    @property
    def height(self) -> int: ...
    @property
    def store(self) -> Store | None:
        """All rows, for a ledger that is at hand."""
        ...

    def link(self, height: int) -> bytes: ...
    def block(self, height: int) -> Seen: ...

    def outcomes(self, bodies: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        """Of these transactions, where `block` does not show them; None if they cannot be had."""
        ...


class StoredSide:
    """A data folder or a backup."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.store: Store = store
        try:
            self.height = final_of(read(store, schema.FINAL))[0]
        except Damaged as damaged:
            raise OperationalError(f"{name}: the row of the last final block {damaged}") from None

    def link(self, height: int) -> bytes:
        try:
            found = read(self.store, schema.at_height(schema.LINK, height))
        except Damaged as damaged:
            raise OperationalError(f"{self.name}: the link of height {height}: {damaged}") from None
        if found is None:
            raise OperationalError(f"{self.name}: the link of height {height} is missing")
        return found

    def block(self, height: int) -> Seen:
        try:
            record = read_block(self.store, height)
        except Damaged as damaged:
            raise OperationalError(f"{self.name}: block {height} {damaged}") from None
        ids = tuple(body_ids_of(record))
        bodies = record.bodies if is_whole(record) else None
        return Seen(record.header, record.result, record.certificate, ids, bodies, record.outcomes)

    def outcomes(self, bodies: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        """`block` has shown them."""
        return None


@dataclass(slots=True)
class Difference:
    """What was found; `kind` says how the two part."""

    kind: str
    """same, genesis, order (other headers), result (one order, other results), rows (one chain, other rows)."""
    height: int
    """The first differing block, or the last common one where the chains do not part."""
    sentence: str
    fields: tuple[str, ...] = ()
    """Differing fields of header or result."""
    transaction: int | None = None
    """Index of the first differing one."""
    keys: list[tuple[bytes, bytes | None, bytes | None]] = field(default_factory=list)
    """(database key, value in A, value in B), the first one first."""
    agrees: str = ""
    """Whose result this release's own execution gives."""
    evidence: dict[str, object] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        return self.kind != "same"

    def document(self) -> dict[str, object]:
        """The evidence bundle, for JSON."""
        keys = [
            {"table": TABLES.get(key[:1], "unknown"), "key": key.hex(), "a": _hex(a), "b": _hex(b)}
            for key, a, b in self.keys
        ]
        return {
            "format": "tallystick-divergence/1",
            "kind": self.kind,
            "height": self.height,
            "sentence": self.sentence,
            "fields": list(self.fields),
            "transaction": self.transaction,
            "keys": keys,
            "own_execution_agrees_with": self.agrees or None,
            **self.evidence,
        }


def compare(
    a: Side,
    b: Side,
    genesis: Genesis,
    progress: Progress = silent,
    scratch: Callable[[], WritableStore] = MemoryStore,
) -> Difference:
    """Where A and B part. Neither is changed; `scratch` is for our own execution."""
    if a.link(0) != b.link(0):
        return Difference("genesis", 0, "the two are of different networks")
    common = min(a.height, b.height)
    if a.link(common) == b.link(common):
        return _same_chain(a, b, common)
    low, high = 0, common  # equal at low, different at high
    while high - low > 1:
        middle = (low + high) // 2
        progress("compare", common - (high - low), common)
        if a.link(middle) == b.link(middle):
            low = middle
        else:
            high = middle
    return _parted(a, b, high, genesis, progress, scratch)


def _same_chain(a: Side, b: Side, common: int) -> Difference:
    longer = "" if a.height == b.height else f"; A has {a.height} blocks and B {b.height}"
    if a.store is not None and b.store is not None and a.height == b.height:
        keys = _differing(a.store, b.store)
        if keys:
            what = f"one chain of {common} blocks, and rows that differ: {_named(keys[0][0])} is the first"
            return Difference("rows", common, what, keys=keys)
    return Difference("same", common, f"the same chain up to block {common}{longer}")


def _differing(a: Store, b: Store) -> list[tuple[bytes, bytes | None, bytes | None]]:
    found: list[tuple[bytes, bytes | None, bytes | None]] = []
    for table in DERIVED:
        for each in differing(a, b, table):
            found.append(each)
            if len(found) >= KEYS_MAX:
                return sorted(found, key=lambda row: row[0])
    return sorted(found, key=lambda row: row[0])


def _parted(
    a: Side,
    b: Side,
    height: int,
    genesis: Genesis,
    progress: Progress,
    scratch: Callable[[], WritableStore],
) -> Difference:
    one, other = a.block(height), b.block(height)
    one, other = _with_outcomes(a, one, other), _with_outcomes(b, other, one)
    headers = _fields(one.header, other.header)
    evidence: dict[str, object] = {"a": _shown(a.name, one), "b": _shown(b.name, other)}
    if headers:
        evidence["signed_both"] = _signed_both(one.certificate, other.certificate)
        what = f"block {height} was ordered twice: the headers differ in {', '.join(headers)}"
        at = _first(one.body_ids, other.body_ids)
        return Difference("order", height, what, tuple(headers), at, evidence=evidence)
    results = tuple(_fields(one.result, other.result))
    at = _first(one.outcomes, other.outcomes)
    found = Difference("result", height, "", results, at, evidence=evidence)
    ours = _own(a, b, height, one, other, genesis, progress, scratch)
    if ours is not None:
        _judge(found, ours, a, b, one, other)
    at_it = a.height == b.height == height
    if at_it and not found.keys and a.store is not None and b.store is not None:
        found.keys = _differing(a.store, b.store)
    found.sentence = _sentence(found)
    return found


def _with_outcomes(side: Side, shown: Seen, other: Seen) -> Seen:
    """The block with its outcomes, asked for by the transactions that the other side shows."""
    if shown.outcomes is not None or other.bodies is None or shown.body_ids != other.body_ids:
        return shown
    return replace(shown, outcomes=side.outcomes(other.bodies))


def _own(
    a: Side,
    b: Side,
    height: int,
    one: Seen,
    other: Seen,
    genesis: Genesis,
    progress: Progress,
    scratch: Callable[[], WritableStore],
) -> Layer | None:
    """The block as this release executes it, if a ledger at hand leads up to it."""
    source = next((each for each in (a.store, b.store) if each and whole_from(each) == 1), None)
    bodies = one.bodies if one.bodies is not None else other.bodies
    if source is None or bodies is None:
        return None
    made = scratch()
    try:
        ledger = Replay(source, genesis, made, Findings()).run(height - 1, progress)
        if ledger.height != height - 1:
            return None
        check = BodyChecker(genesis).check
        checked = [body for raw in bodies if isinstance(body := check(raw), CheckedBody)]
        header = one.header
        return ledger.execute(ledger.link, header.time_ms, NodeId(header.proposer), checked)
    except (InvariantError, Refused):
        return None
    finally:
        made.close()


def _judge(found: Difference, ours: Layer, a: Side, b: Side, one: Seen, other: Seen) -> None:
    """Add what our own execution tells: who agrees with it, and which keys the other side wrote otherwise."""
    found.agrees = "A" if ours.result == one.result else "B" if ours.result == other.result else ""
    if found.transaction is None:
        mine = tuple(ours.changes.outcomes)
        firsts = [_first(mine, side.outcomes) for side in (one, other)]
        found.transaction = min((at for at in firsts if at is not None), default=None)
    for key in sorted(ours.rows):
        left, right = _row_at(a, key, found.height), _row_at(b, key, found.height)
        if left != right and None not in (left, right):
            found.keys.append((key, left, right))
    found.evidence["own"] = {
        "result": to_document(ours.result),
        "outcomes": [each.hex() for each in ours.changes.outcomes],
    }


def _row_at(side: Side, key: bytes, height: int) -> bytes | None:
    """The row as the block left it, where the side stands at that very block."""
    return side.store.get(key) if side.store is not None and side.height == height else None


def _sentence(found: Difference) -> str:
    parts = [f"block {found.height}: one order, and two results ({', '.join(found.fields)})"]
    if found.transaction is not None:
        parts.append(f"transaction {found.transaction} is the first that came out differently")
    if found.keys:
        parts.append(f"{_named(found.keys[0][0])} is the first key that differs")
    parts.append(
        f"this release's own execution agrees with {found.agrees}"
        if found.agrees
        else "this release's own execution agrees with neither, or could not be made"
    )
    return "; ".join(parts)


# -- small things ------------------------------------------------------------------------------------------------------


def _fields(one: Struct, other: Struct) -> list[str]:
    return [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]


def _first(one: Sequence[bytes] | None, other: Sequence[bytes] | None) -> int | None:
    """The first index at which two lists differ, a missing end included."""
    if one is None or other is None:
        return None
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other)) if len(one) != len(other) else None


def _signed_both(one: Certificate | None, other: Certificate | None) -> list[int]:
    """Members whose signatures stand under both: with both certificates genuine, these have voted for two blocks."""
    if one is None or other is None:
        return []
    return sorted({vote.signer for vote in one.votes} & {vote.signer for vote in other.votes})


def _shown(name: str, seen: Seen) -> dict[str, object]:
    return {
        "name": name,
        "header": to_document(seen.header),
        "result": to_document(seen.result),
        "certificate": None if seen.certificate is None else to_document(seen.certificate),
        "transactions": None if seen.bodies is None else [raw.hex() for raw in seen.bodies],
        "outcomes": None
        if seen.outcomes is None
        else [_outcome(encoded) for encoded in seen.outcomes],
    }


def _outcome(encoded: bytes) -> dict[str, object]:
    try:
        return {"bytes": encoded.hex(), "read": to_document(OUTCOME.decode(encoded))}
    except Refused as refused:
        return {"bytes": encoded.hex(), "read": None, "fault": refused.detail}


def _named(key: bytes) -> str:
    return f"{TABLES.get(key[:1], 'unknown')} {key[1:].hex()}"


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
