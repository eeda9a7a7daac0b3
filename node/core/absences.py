"""What a node shows of a payment that was never ordered: its window, closed and certified, and who stands on both sides.

A closed window never changes, so the one that was asked for last keeps its tree. Making a tree takes about 2 µs an entry,
which is half a second for a full minute at 4,000 a second: that part is handed back as a call, for a thread of its own.
Decided here: when there is a proof. Not here: the check of it (`network.proofs.absence`), who may ask (`node.api`).
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from tallystick.network.proofs.absence import AbsenceProof, Neighbour, sought
from tallystick.network.proofs.merkle import Tree, leaf_hashes
from tallystick.network.proofs.receipts import BlockProof
from tallystick.network.proofs.windows import (
    CLOSED_WINDOW,
    ENTRY_BYTES,
    NAME_BYTES,
    WINDOWS_KEY,
    WINDOWS_MARK,
    ClosedWindow,
    window_key,
    window_start,
)
from tallystick.network.wire.faults import Refused, invariant, present
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.closing import WindowEntries
from tallystick.node.core.ledger import Ledger

Finish = Callable[[], AbsenceProof]
"""The slow rest of a proof; needs nothing of the ledger, so another thread may run it: one at a time."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """A closed window's entries, ascending, and the tree over them."""

    entries: list[bytes]
    tree: Tree


class Absences:
    """Proofs from one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._newest: tuple[int, _Sorted] | None = None
        """The window that was asked for last, by its start."""

    def prove(
        self, account: bytes, id_: bytes, digest: bytes, valid_until_ms: int, block: BlockProof
    ) -> Finish:
        """The proof as of the last final block, which `block` proves. `Refused(NOT_FOUND)` while the window is open;
        the call that is returned raises `Refused(ALREADY_ORDERED)` with the body id if the digest stands in it."""
        ledger = self._ledger
        stored = present(ledger.record(WINDOWS_KEY), "the mark of windows is missing")
        mark = WINDOWS_MARK.decode(stored)
        start_ms = window_start(valid_until_ms, ledger.genesis.parameters.window_ms)
        if start_ms >= mark.oldest_ms:
            raise Refused(
                RejectReason.NOT_FOUND,
                "The window of this deadline is not closed here yet; ask again.",
                closed_before_ms=mark.oldest_ms,
            )
        key = window_key(start_ms)
        mark_proof = ledger.state.prove(sha256(WINDOWS_KEY).digest())
        window_proof = ledger.state.prove(sha256(key).digest())
        record = ledger.record(key)
        if record is None:
            proof = AbsenceProof(mark, mark_proof, None, window_proof, None, None, block)
            return lambda: proof
        window = CLOSED_WINDOW.decode(record)
        place = sought(account, id_, digest)
        known = self._newest
        ready = known[1] if known is not None and known[0] == start_ms else None
        rows = [] if ready is not None else self._rows(start_ms, window.count)

        def finish() -> AbsenceProof:
            made = ready if ready is not None else self._sorted(start_ms, window, rows)
            before, after = _neighbours(made, place)
            return AbsenceProof(mark, mark_proof, window, window_proof, before, after, block)

        return finish

    def _rows(self, start_ms: int, count: int) -> list[bytes]:
        """The window's rows as they are stored."""
        rows: list[bytes] = []
        while count > 0:
            row = self._ledger.row(schema.consumed_row(start_ms, len(rows)))
            rows.append(present(row, "a row of a closed window is missing", start_ms=start_ms))
            count -= len(rows[-1]) // ENTRY_BYTES
        return rows

    def _sorted(self, start_ms: int, window: ClosedWindow, rows: list[bytes]) -> _Sorted:
        entries = WindowEntries()
        for row in rows:
            entries.add(row)
        ascending = entries.between(0, window.count)
        made = _Sorted(ascending, Tree(leaf_hashes(ascending)))
        invariant(
            made.tree.root == window.root and entries.count == window.count,
            "the rows of a closed window do not give its certified root",
            start_ms=start_ms,
        )
        self._newest = start_ms, made
        return made


def _neighbours(window: _Sorted, place: bytes) -> tuple[Neighbour | None, Neighbour | None]:
    entries, at = window.entries, bisect_left(window.entries, place)
    if at < len(entries) and entries[at][:NAME_BYTES] == place[:NAME_BYTES]:
        body_id = entries[at][-32:]
        raise Refused(RejectReason.ALREADY_ORDERED, body_id=body_id)
    before = Neighbour(at - 1, entries[at - 1], window.tree.path(at - 1)) if at else None
    after = Neighbour(at, entries[at], window.tree.path(at)) if at < len(entries) else None
    return before, after
