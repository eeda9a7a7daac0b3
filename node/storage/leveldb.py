"""One LevelDB per node behind `node.core.ports.Store`: one writer, synced batches, checksums verified on every read.

Decided here: how a read sees what is not yet durable, and that every error of the disk is an `OperationalError`, which
stops the node. An error of a synced write is never retried: after a failed fsync the kernel may have dropped the pages and
call the next one a success. Measured before: `paranoid_checks` does not notice a flipped byte in a table, `verify_checksums`
on the read does. It is on for another reason: without it, LevelDB opens a log with a flipped byte in its middle and leaves
out whatever stood after it, without a word. A log that merely ends early (the batch that a crash cut off) opens either way.
Not here: the thread that writes (`node.runtime.disk_writer`).
"""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import plyvel

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.overlay import Overlay, Pairs, flattened, merged

WRITE_BUFFER_BYTES = 32 * 1024 * 1024
"""The memory table before it becomes a file: about 20,000 payments, so compaction stays rare."""

CACHE_BYTES = 32 * 1024 * 1024
"""Uncompressed blocks kept in memory. The state map has its own copy, so this serves lookups of ids."""

BLOOM_BITS_PER_KEY = 10
"""About one lookup in a hundred of an absent key reads a block; exactly-once asks for absent keys all day."""

FILE_BYTES = 8 * 1024 * 1024
"""Size of one table file; the default of 2 MB makes a thousand files of a day."""

ASK_REPAIR = ": `tallystick ledger repair` says what can be done, nothing was changed"
"""The end of the sentence about a database that does not open; the repair itself leaves it out."""

_UNKNOWN = object()


class LevelStore:
    """The node's database. Reads, `stage` and `release` on the loop's thread, `write` on the writer's."""

    def __init__(
        self,
        folder: Path,
        write_buffer_bytes: int = WRITE_BUFFER_BYTES,
        *,
        create: bool = True,
        held: FolderLock | None = None,
    ) -> None:
        """Open or create `folder`/ledger and hold the folder, unless the caller holds it already (`held`).

        `OperationalError` when it is taken or damaged, or not there and `create` is False.
        """
        path = folder / "ledger"
        if not create and not path.is_dir():
            raise OperationalError(f"there is no ledger in {folder}")
        self._lock = held or FolderLock(folder)
        self._lock_is_ours = held is None
        self._overlay = Overlay()
        self._exporting = threading.Lock()
        self._closed = False
        try:
            self._db = plyvel.DB(
                str(path),
                create_if_missing=create,
                paranoid_checks=True,
                write_buffer_size=write_buffer_bytes,
                lru_cache_size=CACHE_BYTES,
                bloom_filter_bits=BLOOM_BITS_PER_KEY,
                max_file_size=FILE_BYTES,
                compression=None,
            )
            _sync_folder(folder)
        except (plyvel.Error, OSError) as error:
            self._let_go()
            raise OperationalError(
                f"cannot open the database in {path}: {_words(error)}. If this is not for want of rights or room, its files are"
                f" damaged{ASK_REPAIR}"
            ) from error
        self._read = self._db.get

    def get(self, key: bytes) -> bytes | None:
        value = self._overlay.find(key, _UNKNOWN)
        if value is not _UNKNOWN:
            return value  # type: ignore[return-value]  # the overlay holds bytes or None
        try:
            return self._read(key, verify_checksums=True)
        except plyvel.Error as error:
            raise OperationalError(
                f"the database cannot read key {key[:53].hex()}: {_words(error)}"
            ) from error

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """A snapshot of now, ascending; what is staged later is not in it."""
        staged = self._overlay.under(prefix)
        pairs = self._db.iterator(prefix=prefix, verify_checksums=True, fill_cache=False)
        return merged(_checked(pairs, prefix), staged)

    def after(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """What is durable now beyond `key`, ascending; nothing that is staged."""
        pairs = self._db.iterator(
            start=key, include_start=False, verify_checksums=True, fill_cache=False
        )
        return _checked(pairs, key)

    def stage(self, pairs: Pairs) -> None:
        self._overlay.stage(pairs)

    @property
    def mark(self) -> int:
        """What `release` will need once everything staged so far is durable."""
        return self._overlay.mark

    def write(self, batches: Sequence[Pairs]) -> None:
        """One atomic, synced write of these batches in order. `OperationalError`: assume nothing, stop the node."""
        try:
            with self._db.write_batch(sync=True) as batch:
                put, delete = batch.put, batch.delete
                for key, value in flattened(batches).items():
                    if value is None:
                        delete(key)
                    else:
                        put(key, value)
        except (plyvel.Error, OSError) as error:
            raise OperationalError(f"the database cannot write: {_words(error)}") from error

    def release(self, mark: int) -> None:
        """Everything staged up to `mark` is durable; reads may go to the database again."""
        self._overlay.release(mark)

    def verify(self) -> int:
        """Read every pair, checksums on; the number of pairs. `OperationalError` names the first damaged one."""
        return sum(
            1 for _ in _checked(self._db.iterator(verify_checksums=True, fill_cache=False), b"")
        )

    def export(
        self, tables: Sequence[bytes], chunk_bytes: int
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        """The durable rows of these tables as they are when the first chunk is asked for, in chunks of about
        `chunk_bytes`. May be asked from another thread, one chunk at a time; `OperationalError` once the store is closed.
        """
        with self._exporting:
            self._check_open()
            snapshot = self._db.snapshot()
        try:
            for table in sorted(tables):
                with self._exporting:
                    self._check_open()
                    pairs = _checked(
                        snapshot.iterator(prefix=table, verify_checksums=True, fill_cache=False),
                        table,
                    )
                while chunk := self._chunk(pairs, chunk_bytes):
                    yield chunk
        finally:
            with self._exporting:
                if not self._closed:
                    snapshot.close()

    def _chunk(
        self, pairs: Iterator[tuple[bytes, bytes]], chunk_bytes: int
    ) -> list[tuple[bytes, bytes]]:
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        with self._exporting:  # the database may not be closed under an iterator
            self._check_open()
            for key, value in pairs:
                rows.append((key, value))
                size += len(key) + len(value)
                if size >= chunk_bytes:
                    break
        return rows

    def _check_open(self) -> None:
        if self._closed:
            raise OperationalError("the database is closed")

    def close(self) -> None:
        """Close the database and let go of the folder. Nothing may be written any more."""
        with self._exporting:
            self._closed = True
            self._db.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock_is_ours:
            self._lock.release()


def _checked(pairs: Iterator[tuple[bytes, bytes]], prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    last = prefix
    try:
        for pair in pairs:
            last = pair[0]
            yield pair
    except plyvel.Error as error:
        raise OperationalError(
            f"the database is damaged after key {last[:53].hex()}: {_words(error)}"
        ) from error


def _words(error: Exception) -> str:
    """LevelDB speaks in bytes."""
    first = error.args[0] if error.args else b""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(error)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
