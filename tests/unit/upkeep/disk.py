"""A lab's ledger on a real LevelDB, and a hand that flips bytes of its files."""

from pathlib import Path

import plyvel

from tallystick.node.storage.leveldb import LevelStore


def on_disk(folder: Path, rows: dict[bytes, bytes], block_bytes: int = 4_096) -> Path:
    """A data folder whose ledger holds these rows, all in table files (nothing in the log), in blocks of this size."""
    store = LevelStore(folder)
    store.write([dict(rows)])
    store.close()
    database = plyvel.DB(
        str(folder / "ledger"), compression=None, bloom_filter_bits=10, block_size=block_bytes
    )
    database.compact_range()
    database.close()
    return folder


def rows_in(folder: Path) -> dict[bytes, bytes]:
    store = LevelStore(folder, create=False)
    try:
        return dict(store.scan(b""))
    finally:
        store.close()


def flip(path: Path, at: int, by: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= by
    path.write_bytes(data)


def flip_value(folder: Path, value: bytes) -> None:
    """Flip a bit of the file in which these bytes stand."""
    for path in sorted((folder / "ledger").glob("*.ldb")):
        at = path.read_bytes().find(value)
        if at >= 0:
            flip(path, at + len(value) // 2)
            return
    raise AssertionError("no table holds these bytes")
