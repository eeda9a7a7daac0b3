"""The node's store with every row sealed: `LevelStore` below, the port `node.core.ports.Store` above, nothing in between in clear.

Decided here: rows are sealed on the writer's thread and staged in clear in memory, so reads of what is on its way cost
nothing more; and re-encryption rides along with the node's own writes, a bounded number of rows each, in the same atomic
batch, so that no second writer and no lock is needed. A crash at any step leaves rows under old and new keys, all of which
open; the next life walks again and passes over what is done. Not here: keys (`keyring`), ciphers (`sealing`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from tallystick.node.storage.key_encryption import KeyEncryption
from tallystick.node.storage.keyring import Keyring
from tallystick.node.storage.overlay import Overlay, Pairs, flattened, merged
from tallystick.node.storage.sealing import (
    ROWS_PER_KEY_MAX,
    Names,
    Opener,
    Sealer,
    damaged,
    key_number,
)

REWRITTEN_ROWS_MAX: Final = 256
"""Rows sealed anew in one write of the node: about 1 ms, so a block is hardly later."""
REWRITTEN_BYTES_MAX: Final = 1024 * 1024
"""The same in bytes; the last row may go beyond it."""
PASSED_ROWS_MAX: Final = 4_096
"""Rows looked at in one write that are under a new key already."""

_UNKNOWN: Final = object()


class Below(Protocol):
    """The database that holds sealed rows."""

    def get(self, key: bytes) -> bytes | None: ...
    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...
    def after(self, key: bytes) -> Iterator[tuple[bytes, bytes]]: ...
    def export(
        self, tables: Sequence[bytes], chunk_bytes: int
    ) -> Iterator[list[tuple[bytes, bytes]]]: ...
    def write(self, batches: Sequence[Pairs]) -> None: ...
    def close(self) -> None: ...


class SealedStore:
    """Reads, `stage` and `release` on the loop's thread, `write` on the writer's, `rekey` on any."""

    def __init__(
        self,
        below: Below,
        ring: Keyring,
        height_tables: frozenset[bytes],
        rows_per_key_max: int = ROWS_PER_KEY_MAX,
    ) -> None:
        """Takes `below` for itself. `height_tables`: see `sealing.Names`."""
        self._below = below
        self._ring = ring
        self._overlay = Overlay()
        self._names = Names(ring.name_key, height_tables)
        self._opener = Opener(ring.data_keys)
        self._sealer = Sealer(self._names, self._new_key, rows_per_key_max)
        self._walked_for = 0
        """The `retire_below` that the walk is for."""
        self._cursor = b""
        """The last opaque name that the walk has passed."""
        self._rewritten = 0
        """Rows sealed anew in this life."""

    # -- the port ------------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        value = self._overlay.find(key, _UNKNOWN)
        if value is not _UNKNOWN:
            return value  # type: ignore[return-value]  # the overlay holds bytes or None
        hidden = self._names.opaque(key)
        row = self._below.get(hidden)
        if row is None:
            return None
        name, opened = self._opener.opened(hidden, row)
        if name != key:
            raise damaged(hidden, "it holds another name")
        return opened

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """A snapshot of now. Ascending in the tables named by height; in another, each pair once, in no order."""
        staged = self._overlay.under(prefix)
        rows = self._below.scan(prefix[:1])
        pairs = self._opened(rows, prefix)
        return merged(pairs, staged) if self._names.ordered(prefix) else _overlaid(pairs, staged)

    def stage(self, pairs: Pairs) -> None:
        self._overlay.stage(pairs)

    @property
    def mark(self) -> int:
        """What `release` will need once everything staged so far is durable."""
        return self._overlay.mark

    def write(self, batches: Sequence[Pairs]) -> None:
        """One atomic, synced write of these batches, and of a few rows that wait to be sealed anew."""
        self._write(batches, REWRITTEN_ROWS_MAX)

    def _write(self, batches: Sequence[Pairs], rows_max: int) -> None:
        # Asked once: a `rekey` meanwhile must not make this walk pass rows that are sealed under the key in use now.
        retire_below, rewriting = self._ring.retire_below, self._ring.rewriting
        if self._sealer.number < retire_below:
            self._sealer.leave_key()
        batch = self._sealer.sealed(flattened(batches))
        walked = self._walk(batch, retire_below, rows_max) if rewriting else False
        self._below.write([batch])
        if walked:
            self._ring.forget_below(retire_below)

    def release(self, mark: int) -> None:
        """Everything staged up to `mark` is durable; reads may go to the database again."""
        self._overlay.release(mark)

    def verify(self) -> int:
        """Open every row; their number. `OperationalError` names the first that cannot be opened."""
        return sum(1 for _ in self._opened(self._below.scan(b""), b""))

    def export(
        self, tables: Sequence[bytes], chunk_bytes: int
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        """`LevelStore.export`, opened; rows of a table come in no order unless it is named by height."""
        wanted = tuple(tables)
        letters = sorted({table[:1] for table in wanted})
        for chunk in self._below.export(letters, chunk_bytes):
            opened = [row for row in self._opened(iter(chunk), b"") if row[0].startswith(wanted)]
            if opened:
                yield opened

    def close(self) -> None:
        """Close the database and let go of the folder. Nothing may be written any more."""
        self._below.close()

    # -- keys ----------------------------------------------------------------------------------------------------------

    @property
    def ring(self) -> Keyring:
        """Whose key opens this store, and whether rows wait to be sealed anew."""
        return self._ring

    def rekey(self, key_encryption: KeyEncryption) -> None:
        """At once only `key_encryption` opens the ring; rows follow, a few with each write."""
        self._ring.rewrap(key_encryption)

    def rewrite_all(self, rows_per_write: int = PASSED_ROWS_MAX) -> Iterator[int]:
        """Seal every waiting row anew, now; yields after each step how many were done. On the writer's thread."""
        done = 0
        while self._ring.rewriting:
            before = self._rewritten
            self._write([{}], rows_per_write)
            done += self._rewritten - before
            yield done

    def _new_key(self) -> tuple[int, bytes]:
        number, key = self._ring.add_data_key()
        self._opener.add(number, key)
        return number, key

    def _walk(self, batch: dict[bytes, bytes | None], retire_below: int, rows_max: int) -> bool:
        """Add the next few old rows to `batch`, sealed anew; True when the walk has passed the last row.

        A row that the batch itself writes or deletes is left to it. Rows behind the cursor are under new keys: written by
        this walk, or since it began.
        """
        if self._walked_for != retire_below:
            self._walked_for, self._cursor = retire_below, b""
        old: dict[bytes, bytes | None] = {}
        size, ended = 0, True
        for passed, (hidden, row) in enumerate(self._below.after(self._cursor)):
            if len(old) == rows_max or size >= REWRITTEN_BYTES_MAX or passed == PASSED_ROWS_MAX:
                ended = False
                break
            self._cursor = hidden
            if key_number(row) < retire_below and hidden not in batch:
                name, value = self._opener.opened(hidden, row)
                old[name] = value
                size += len(row)
        batch.update(self._sealer.sealed(old))
        self._rewritten += len(old)
        return ended

    def _opened(
        self, rows: Iterator[tuple[bytes, bytes]], prefix: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        opened, hashed = self._opener.opened, self._names.hashed
        for hidden, row in rows:
            name, value = opened(hidden, row)
            if name != hidden and hashed(name) != hidden:
                raise damaged(hidden, "it holds another name")
            if name.startswith(prefix):
                yield name, value


def _overlaid(
    below: Iterator[tuple[bytes, bytes]], above: Mapping[bytes, bytes | None]
) -> Iterator[tuple[bytes, bytes]]:
    """Every pair once; where both know a key, `above` wins and its None hides the pair."""
    for key, value in below:
        if key not in above:
            yield key, value
    for key, staged in sorted(above.items()):
        if staged is not None:
            yield key, staged
