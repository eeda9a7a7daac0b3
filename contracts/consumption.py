"""Exactly once: every ordered transaction is consumed, and the window of its deadline commits to that (architecture 5).

An authorised transaction takes its (account, id) for its digest. One that is not (unknown account, wrong keys) or comes too
late (id taken) is consumed by its body id alone, so nobody can burn another's digest or id. Each leaves one entry in the
window of its deadline, whose running hash covers the entries block by block. Decided here: the entries, and when and how a
window closes. Not here: their bytes (`network.proofs.windows`), where a node keeps them (`StateReader.consumed`).
"""

from collections.abc import Mapping, Sequence
from operator import lt
from typing import Final

from tallystick.contracts import decisions
from tallystick.contracts.decisions import Decision
from tallystick.contracts.state import BlockInput, StateReader, own
from tallystick.network.proofs.merkle import Peaks, leaf_hashes
from tallystick.network.proofs.windows import (
    BYTES_ONLY,
    CLOSED_WINDOW,
    ENTRY_BYTES,
    ID_TAKEN,
    OPEN_WINDOW,
    TOOK_ID,
    WINDOWS_KEY,
    WINDOWS_MARK,
    ClosedWindow,
    OpenWindow,
    WindowsMark,
    next_running,
    window_key,
    window_start,
)
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.faults import broken, invariant, present

WINDOWS_PER_BLOCK_MAX: Final = 64
"""Windows that one block looks at: a record read each. A day's outage of one-minute windows takes 23 blocks."""

_FLAGS: Final = {
    decisions.UNKNOWN_ACCOUNT.reason: BYTES_ONLY,
    decisions.WRONG_KEYS.reason: BYTES_ONLY,
    decisions.ID_TAKEN.reason: ID_TAKEN,
}
TAKES_NO_ID: Final = frozenset(_FLAGS)
"""Reasons of the outcomes that come before an id can be taken: they consume a body alone."""


def consume(block: BlockInput, made: Sequence[Decision]) -> tuple[dict[int, bytes], list[bytes]]:
    """The entries of each window (its start → joined, in the order of the block), and the bodies consumed alone."""
    window_ms = block.parameters.window_ms
    consumed: dict[int, list[bytes]] = {}
    refused: list[bytes] = []
    for checked, decision in zip(block.transactions, made, strict=True):
        transaction, flag = checked.transaction, TOOK_ID
        if decision.reason in _FLAGS:
            flag = _FLAGS[decision.reason]
            refused.append(checked.body_id)
        window = transaction.valid_until_ms // window_ms
        pieces = consumed.get(window)
        if pieces is None:
            pieces = consumed[window] = []
        pieces += (transaction.account, transaction.id, checked.digest, flag, checked.body_id)
    entries = {number * window_ms: b"".join(pieces) for number, pieces in consumed.items()}
    return entries, refused


def window_records(
    state: StateReader, block: BlockInput, consumed: Mapping[int, bytes]
) -> dict[bytes, bytes]:
    """The new record of every window that this block consumed something in, or closed, and the mark if it moved."""
    mark = present(own(WINDOWS_MARK, state.record(WINDOWS_KEY)), "the mark of windows is missing")
    current_ms = window_start(block.time_ms, block.parameters.window_ms)
    records = {}
    for start_ms, entries in consumed.items():
        if start_ms < current_ms:
            broken("a transaction was ordered into a closed window", start_ms=start_ms)
        key = window_key(start_ms)
        before = own(OPEN_WINDOW, state.record(key)) or OpenWindow(0, 0, ZERO)
        records[key] = OPEN_WINDOW.encode(
            OpenWindow(
                before.count + len(entries) // ENTRY_BYTES,
                before.blocks + 1,
                next_running(before.running, entries),
            )
        )
    closing = _Closing(state, block, mark)
    closing.work()
    records.update(closing.records)
    newest_ms = max(mark.newest_ms, *consumed) if consumed else mark.newest_ms
    moved = WindowsMark(
        1, closing.oldest_ms, current_ms, newest_ms, closing.peaks.size, closing.peaks.joined()
    )
    if moved != mark:
        records[WINDOWS_KEY] = WINDOWS_MARK.encode(moved)
    return records


class _Closing:
    """One block's share of closing: at most as many leaves as a block may order, so that it keeps pace with any load.

    A window is closed once the parent's time lies beyond it: the block that makes it so has no work from it yet. The oldest
    comes first, and its leaves in ascending order, so that the cursor is a number of leaves and the subtrees over them.
    """

    def __init__(self, state: StateReader, block: BlockInput, mark: WindowsMark) -> None:
        self.oldest_ms = mark.oldest_ms
        self.peaks = Peaks(mark.hashed, mark.peaks)
        self.records: dict[bytes, bytes] = {}
        self._state = state
        self._mark = mark
        self._window_ms = block.parameters.window_ms
        self._left = block.parameters.block_transactions_max

    def work(self) -> None:
        """Go on until the share is used up, or nothing is left to close."""
        for _ in range(WINDOWS_PER_BLOCK_MAX):
            if self.oldest_ms >= self._mark.current_ms:
                return
            if self.oldest_ms > self._mark.newest_ms:
                self.oldest_ms = self._mark.current_ms  # nothing was ever consumed in any of these
                return
            opened = own(OPEN_WINDOW, self._state.record(window_key(self.oldest_ms)))
            if opened is not None and not self._closed(opened):
                return
            self.oldest_ms += self._window_ms

    def _closed(self, opened: OpenWindow) -> bool:
        """Hash what may be hashed now; True once the root stands."""
        if not self._left:
            return False
        begin = self.peaks.size
        end = min(opened.count, begin + self._left)
        # The last one hashed before comes along, so that entries are seen to ascend across blocks, too.
        again = min(begin, 1)
        leaves = self._state.consumed(self.oldest_ms, begin - again, end)
        invariant(
            len(leaves) == end - begin + again and all(map(_is_entry, map(len, leaves))),
            "a closing window gave other entries than it counted",
            start_ms=self.oldest_ms,
        )
        ascend = all(map(lt, leaves, leaves[1:]))
        invariant(ascend, "entries of a closing window do not ascend", start_ms=self.oldest_ms)
        self.peaks.extend(leaf_hashes(leaves[again:]))
        self._left -= end - begin
        if end < opened.count:
            return False
        closed = ClosedWindow(opened.count, self.peaks.root())
        self.records[window_key(self.oldest_ms)] = CLOSED_WINDOW.encode(closed)
        self.peaks = Peaks()
        return True


_is_entry = ENTRY_BYTES.__eq__
