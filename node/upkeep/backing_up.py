"""`tallystick ledger backup`: the certified ledger of one instant, into a folder of its own.

Rows come from a stopped node's database or from a running node's interface, which reads a snapshot.
Decided here: every file is durable before the manifest names it. Not here: what a row must be, which `restoring` asks.
"""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash, genesis_to_json
from tallystick.node.core import schema
from tallystick.node.core.ledger import BlockRecord, Ledger
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.aside import sync_folder
from tallystick.node.upkeep.findings import Progress, silent
from tallystick.node.upkeep.manifest import (
    CERTIFICATE,
    GENESIS,
    MANIFEST,
    BackupFile,
    Manifest,
    encoded,
    sealed,
)
from tallystick.node.upkeep.rows import Damaged, block_record, final_of
from tallystick.node.upkeep.segments import SEGMENT, SEGMENT_BYTES, Row


class BackupWriter:
    """Takes rows in their order; `finish` makes it a backup."""

    def __init__(self, folder: Path, genesis: Genesis, progress: Progress = silent) -> None:
        """`folder` is made; one that holds anything but an unfinished backup is refused."""
        self._folder = folder
        self._genesis = genesis
        self._progress = progress
        self._files: list[BackupFile] = []
        self._waiting: list[Row] = []
        self._size = 0
        self._rows = 0
        self._final: bytes | None = None
        self._tip_key, self._tip = b"", None  # type: bytes, bytes | None
        _make_room(folder)
        data = genesis_to_json(genesis)
        self._files.append(_written(folder, GENESIS, data, 0))

    def add(self, rows: Iterable[Row]) -> None:
        """The next rows, in any order."""
        for key, value in rows:
            if key == schema.FINAL:
                self._final = value
            elif key[:1] == schema.BLOCK and key > self._tip_key:
                self._tip_key, self._tip = key, value
            self._waiting.append((key, value))
            self._size += len(key) + len(value) + 10
            if self._size >= SEGMENT_BYTES:
                self._flush()

    def finish(self) -> Manifest:
        """Write the manifest. `OperationalError`: the rows do not end with the last final block they speak of."""
        if self._waiting:
            self._flush()
        manifest = self._manifest()
        draft = self._folder / f"{MANIFEST}.new"
        _write(draft, encoded(manifest))
        draft.rename(self._folder / MANIFEST)
        sync_folder(self._folder)
        return manifest

    def _flush(self) -> None:
        name = f"rows-{len(self._files) - 1:06}.seg"
        data = SEGMENT.encode(self._waiting)
        self._files.append(_written(self._folder, name, data, len(self._waiting)))
        self._rows += len(self._waiting)
        self._waiting, self._size = [], 0
        self._progress("rows", self._rows, 0)

    def _manifest(self) -> Manifest:
        genesis = self._genesis
        hash_ = genesis_hash(genesis)
        try:
            height, link = final_of(self._final)
            tip = block_record(self._tip) if self._tip is not None and height else None
        except Damaged as damaged:
            raise OperationalError(
                f"the ledger's last final block {damaged}: verify it first"
            ) from None
        if height and not _ends_with(tip, height, link):
            raise OperationalError(
                f"the ledger's blocks do not end with its last final one, {height}: verify it first"
            )
        certificate = CERTIFICATE.encode(tip.certificate).hex() if tip is not None else ""
        root = tip.result.state_root if tip is not None else _first_root(genesis)
        return sealed(
            Manifest(
                "tallystick-backup/1",
                hash_.hex(),
                chain_of(hash_),
                height,
                link.hex(),
                root.hex(),
                tip.header.time_ms if tip is not None else genesis.created_ms,
                certificate,
                self._rows,
                tuple(self._files),
            )
        )


def _ends_with(tip: BlockRecord | None, height: int, link: bytes) -> bool:
    return (
        tip is not None
        and tip.header.height == height == tip.certificate.height
        and link_of(tip.header, tip.result) == link
    )


def _first_root(genesis: Genesis) -> bytes:
    return Ledger(genesis, MemoryStore()).state.root or ZERO


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise OperationalError(f"cannot write a backup to {folder}: {error.strerror}") from None
    if MANIFEST in there:
        raise OperationalError(
            f"{folder} holds a backup already; name a folder that is empty or does not exist"
        )
    ours = [name for name in there if name in (GENESIS, f"{MANIFEST}.new") or name.endswith(".seg")]
    if len(ours) != len(there):
        raise OperationalError(
            f"{folder} is not empty; name a folder that is empty or does not exist"
        )
    for name in ours:
        (folder / name).unlink()  # of a backup that was interrupted


def _written(folder: Path, name: str, data: bytes, rows: int) -> BackupFile:
    _write(folder / name, data)
    return BackupFile(name, len(data), sha256(data).hexdigest(), rows)


def _write(path: Path, data: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OperationalError(f"cannot write {path}: {error.strerror}") from None
