"""Sealed folders for tests: three keys, and what a thief reads."""

from pathlib import Path

from tallystick.node.storage.key_encryption import KeyInMemory
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.opening import open_store
from tallystick.node.storage.sealed import SealedStore

OLD = KeyInMemory(bytes(range(32)), "the old key")
NEW = KeyInMemory(bytes(range(1, 33)), "the new key")
OTHER = KeyInMemory(bytes(range(2, 34)), "another key")


def opened(folder: Path, *keys: KeyInMemory) -> SealedStore:
    store = open_store(folder, keys or (OLD,))
    assert isinstance(store, SealedStore)
    return store


def raw_rows(folder: Path) -> dict[bytes, bytes]:
    """What a thief reads."""
    below = LevelStore(folder)
    try:
        return dict(below.scan(b""))
    finally:
        below.close()
