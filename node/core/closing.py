"""The entries of windows that are being closed, in ascending order, from rows of the order in which they were consumed.

A block leaves one row for each window that it consumed something in; rows of a window are numbered, so each is found by its
own name. Of the oldest window that is not closed yet a few rows are read with every final block while it is the present
one, into buckets by their first byte, and a bucket is sorted when it is asked for: closing never stops a block for long.
Decided here: what is in memory (one window at work; entries of all others stay on disk). Not here: when a window closes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tallystick.network.proofs.windows import (
    ENTRY_BYTES,
    OPEN_WINDOW,
    WINDOWS_KEY,
    WINDOWS_MARK,
    OpenWindow,
    next_running,
    window_key,
)
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.faults import invariant, present
from tallystick.node.core import schema

ROWS_PREPARED_MAX: Final = 16
"""Rows of the present window that are read with one final block: at most 4,096 entries each, about 0.1 µs an entry."""

Read = Callable[[bytes], bytes | None]


def entries_of(joined: bytes) -> Iterator[bytes]:
    """The entries of one row, in its order."""
    return (joined[at : at + ENTRY_BYTES] for at in range(0, len(joined), ENTRY_BYTES))


class WindowEntries:
    """Everything that was consumed in one window, as far as its rows were added."""

    __slots__ = ("_buckets", "_unsorted", "count", "rows", "running")

    def __init__(self) -> None:
        self.rows = 0
        self.count = 0
        self.running = ZERO
        self._buckets: list[list[bytes]] = [[] for _ in range(256)]
        self._unsorted: set[int] = set()

    def add(self, row: bytes) -> None:
        """The next row: `ENTRY_BYTES` an entry."""
        buckets = self._buckets
        for entry in entries_of(row):
            buckets[entry[0]].append(entry)
        self._unsorted.update(row[::ENTRY_BYTES])
        self.rows += 1
        self.count += len(row) // ENTRY_BYTES
        self.running = next_running(self.running, row)

    def between(self, begin: int, end: int, above: Sequence[bytes] = ()) -> list[bytes]:
        """Entries `begin` … `end` - 1 in ascending order, those of the rows `above` among them."""
        beside: dict[int, list[bytes]] = {}
        for row in above:
            for entry in entries_of(row):
                beside.setdefault(entry[0], []).append(entry)
        found: list[bytes] = []
        first = 0
        for number, bucket in enumerate(self._buckets):
            more = beside.get(number)
            size = len(bucket) + (len(more) if more else 0)
            if first + size > begin:
                if number in self._unsorted:
                    bucket.sort()
                    self._unsorted.remove(number)
                whole = sorted(bucket + more) if more else bucket
                found += whole[max(0, begin - first) : end - first]
            first += size
            if first >= end:
                break
        return found


class Windows:
    """The windows that a ledger's next blocks close. `record`, `row`: reads of the certified ledger."""

    def __init__(self, record: Read, row: Read) -> None:
        self._record = record
        self._row = row
        self._entries: dict[int, WindowEntries] = {}
        self.oldest_ms = 0

    def follow(self) -> None:
        """The certified mark has moved: forget what is closed."""
        stored = present(self._record(WINDOWS_KEY), "the mark of windows is missing")
        self.oldest_ms = WINDOWS_MARK.decode(stored).oldest_ms
        self._entries = {
            start_ms: entries
            for start_ms, entries in self._entries.items()
            if start_ms >= self.oldest_ms
        }

    def prepare(self) -> None:
        """A block became final: read a few more rows of the window that closes next."""
        if self._record(window_key(self.oldest_ms)) is not None:
            self._read(self.oldest_ms, ROWS_PREPARED_MAX)

    def consumed(
        self, start_ms: int, begin: int, end: int, above: Sequence[bytes], opened: OpenWindow
    ) -> list[bytes]:
        """See `contracts.StateReader.consumed`. `above`: rows of blocks that are not final, oldest first, and `opened` the
        window's record over all of them, which the entries must give."""
        entries = self._read(start_ms, None)
        running, count = entries.running, entries.count
        for row in above:
            running, count = next_running(running, row), count + len(row) // ENTRY_BYTES
        invariant(
            (count, entries.rows + len(above), running)
            == (opened.count, opened.blocks, opened.running),
            "the entries of a closing window are not those that its record commits to",
            start_ms=start_ms,
            entries=count,
            recorded=opened.count,
        )
        return entries.between(begin, end, above)

    def _read(self, start_ms: int, rows_max: int | None) -> WindowEntries:
        """The entries with up to `rows_max` more of the certified rows, None: with all."""
        entries = self._entries.get(start_ms)
        if entries is None:
            entries = self._entries[start_ms] = WindowEntries()
        stored = self._record(window_key(start_ms))
        rows = 0 if stored is None else OPEN_WINDOW.decode(stored).blocks
        if rows_max is not None:
            rows = min(rows, entries.rows + rows_max)
        while entries.rows < rows:
            key = schema.consumed_row(start_ms, entries.rows)
            entries.add(present(self._row(key), "a row of a window is missing", start_ms=start_ms))
        return entries
