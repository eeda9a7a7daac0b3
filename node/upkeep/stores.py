"""A node's database as upkeep opens it: sealed when its folder is, in a folder that the caller holds already.

What is made beside a sealed ledger is sealed, too: the ledger that takes its place under the node's own key and a keyring of
its own, the scratch of a long look under a key that nobody ever sees again.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.key_encryption import KEY_BYTES, KeyEncryption, KeyInMemory
from tallystick.node.storage.keyring import FILES, Keyring, is_sealed
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.opening import HEIGHT_TABLES, NodeStore
from tallystick.node.storage.sealed import SealedStore

MOVED: Final = (*FILES, "ledger")
"""What makes a database, in the order in which it is put in its place: the rows last."""

Keys = Sequence[KeyEncryption]


def open_ledger(folder: Path, keys: Keys, held: FolderLock) -> NodeStore:
    """The database that stands in `folder`. `OperationalError` when there is none, or it cannot be opened (with these keys)."""
    if is_sealed(folder) and not keys:
        raise OperationalError(
            f"the data in {folder} is sealed: name its node's configuration with --config, whose [storage] has the key"
        )
    if keys and not is_sealed(folder):
        raise OperationalError(
            f"the data in {folder} is not sealed, or its keyring is lost, and [storage] names a key"
        )
    below = LevelStore(folder, create=False, held=held)
    if not keys:
        return below
    return _sealed(below, lambda: Keyring.open(folder, keys))


def open_new(folder: Path, keys: Keys) -> NodeStore:
    """A database of our own in `folder`, as far as it has come: sealed under the first of `keys`, if there are any."""
    below = LevelStore(folder)
    if not keys:
        return below
    return _sealed(
        below,
        lambda: (
            Keyring.open(folder, keys) if is_sealed(folder) else Keyring.create(folder, keys[0])
        ),
    )


def scratch_in(folder: Path) -> NodeStore:
    """An empty database that nobody can read once this process has ended."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_new(folder, [KeyInMemory(os.urandom(KEY_BYTES), "this process")])


def _sealed(below: LevelStore, ring: Callable[[], Keyring]) -> SealedStore:
    try:
        return SealedStore(below, ring(), HEIGHT_TABLES)
    except BaseException:
        with suppress(OperationalError):
            below.close()
        raise
