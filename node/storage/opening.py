"""From a data folder and its key to the store of one node: sealed when a key is named, plain when none is.

Decided here: a folder is never opened as what it is not. A plain database under a configured key, and a sealed one without, are
refused with the sentence that leads on. Also here: sealing a plain database, once, with the node stopped.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tallystick.network.wire.faults import OperationalError
from tallystick.node.core import schema
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.key_encryption import KeyEncryption
from tallystick.node.storage.keyring import FILES, Keyring, is_sealed
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.overlay import Pairs
from tallystick.node.storage.sealed import SealedStore

HEIGHT_TABLES: Final = frozenset((schema.BLOCK, schema.LINK, schema.EPOCH, schema.CHECKPOINT))
"""What a thief may know of them is how many blocks, epochs and checkpoints there are; they are walked in order."""

DRAFT: Final = "sealing"
"""A plain database's sealed twin while it is made: thrown away by the next try."""
DONE: Final = "sealed"
"""The twin once it is whole: the next try only puts it in its place."""
COPIED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one write while a plain database is sealed."""

NodeStore = LevelStore | SealedStore


def open_store(folder: Path, keys: Sequence[KeyEncryption], seal_hint: str = "") -> NodeStore:
    """The store in `folder`, made if there is none. `keys`: those that may open it, none for a plain one.

    The first of `keys` seals a new store. `seal_hint`: the command that seals a plain database.
    """
    sealed = is_sealed(folder)
    if (folder / DONE).exists():
        raise OperationalError(
            f"the data in {folder} is being sealed and not yet in its place: run {seal_hint} again"
        )
    if not keys:
        if sealed:
            raise OperationalError(
                f"the data in {folder} is sealed and the configuration names no key: set key in [storage]"
            )
        return LevelStore(folder)
    if not sealed:
        if _is_plain(folder):
            raise OperationalError(
                f"the data in {folder} is not sealed, or its keyring is lost, and [storage] names a key. To seal it, run "
                f"{seal_hint}; if it was sealed before, restore {' or '.join(FILES)}."
            )
        lock = FolderLock(folder)
        try:
            Keyring.create(folder, keys[0])
        finally:
            lock.release()
    below = LevelStore(folder)
    try:
        return SealedStore(below, Keyring.open(folder, keys), HEIGHT_TABLES)
    except BaseException:
        below.close()
        raise


def seal_plain(
    folder: Path, key: KeyEncryption, told: Callable[[int], None] = lambda rows: None
) -> int:
    """Seal the plain database in `folder`, which nobody may have open; the number of rows. `told` hears it grow.

    A crash at any moment leaves the plain database or the whole sealed one, and calling it again ends the work. The plain
    files are deleted, which does not wipe the disk's cells.
    """
    lock = FolderLock(folder)
    try:
        rows = 0
        if not (folder / DONE).exists():
            if is_sealed(folder):
                raise OperationalError(f"the data in {folder} is sealed already")
            if not _is_plain(folder):
                raise OperationalError(
                    f"there is no database in {folder}: a new one is sealed from its beginning"
                )
            shutil.rmtree(folder / DRAFT, ignore_errors=True)
        else:
            _put_in_place(folder)
            return rows
    finally:
        lock.release()
    rows = _copy(folder, key, told)
    lock = FolderLock(folder)
    try:
        (folder / DRAFT).rename(folder / DONE)
        _sync(folder)
        _put_in_place(folder)
    finally:
        lock.release()
    return rows


def _copy(folder: Path, key: KeyEncryption, told: Callable[[int], None]) -> int:
    """Every row of the plain database into a sealed one in `DRAFT`, then read back."""
    plain = LevelStore(folder)
    try:
        draft = folder / DRAFT
        draft.mkdir(mode=0o700)
        ring = Keyring.create(draft, key)
        copy = SealedStore(LevelStore(draft), ring, HEIGHT_TABLES)
        try:
            rows, size = 0, 0
            batch: dict[bytes, bytes | None] = {}
            for name, value in plain.scan(b""):
                batch[name] = value
                rows, size = rows + 1, size + len(name) + len(value)
                if size >= COPIED_BYTES_MAX:
                    _write(copy, batch)
                    batch, size = {}, 0
                    told(rows)
            _write(copy, batch)
            told(rows)
            if copy.verify() != rows:
                raise OperationalError(
                    f"{draft} does not hold what {folder} holds; nothing was changed"
                )
            return rows
        finally:
            copy.close()
    finally:
        plain.close()


def _write(store: SealedStore, batch: Pairs) -> None:
    if batch:
        store.write([batch])


def _put_in_place(folder: Path) -> None:
    """The whole twin takes the plain database's place; each step may have been done before."""
    done = folder / DONE
    if (done / "ledger").exists():
        shutil.rmtree(folder / "ledger", ignore_errors=True)
        (done / "ledger").rename(folder / "ledger")
    for name in FILES:
        if (done / name).exists():
            (done / name).replace(folder / name)
    _sync(folder)
    shutil.rmtree(done)
    _sync(folder)


def _is_plain(folder: Path) -> bool:
    """There is a database of LevelDB, and (asked before) no keyring."""
    return (folder / "ledger" / "CURRENT").exists()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
