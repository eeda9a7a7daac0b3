"""`tallystick ledger prune`: transactions of old blocks go into archive files, and come back from there.

What a block decided stays (`node.core.outlines`): headers, outcomes, exactly-once, state and proofs are as before, and whoever has
a transaction gets its receipt. Decided here: what may go (blocks below the newest checkpoint that nobody's deadline reaches any
more), and the order: a file is durable and read back before its blocks lose anything, and both ends of each step are one
atomic write, so a call that was cut off is simply made again. An archive proves itself against the ledger: it is not trusted.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from tallystick.network.proofs.merkle import root_of
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.layers import Pairs
from tallystick.node.core.ledger import BlockRecord, whole_from
from tallystick.node.core.outlines import blanked
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.aside import sync_folder
from tallystick.node.upkeep.findings import Progress, silent
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.rows import Damaged, block_record, final_of, read_block
from tallystick.node.upkeep.segments import SEGMENT, SEGMENT_BYTES, Row

_NAME: Final = re.compile(r"blocks-([0-9]{16})-([0-9]{16})\.seg")
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was done."""

    first: int
    """The first block that moved; above `last` when none did."""
    last: int
    whole_from: int
    """From this height on blocks are whole now."""
    files: int


def prunable(store: Store, genesis: Genesis) -> int:
    """The highest block whose transactions may go. `OperationalError` if the ledger cannot be read.

    A member that was away for as long as a payment may wait for its order must still find whole blocks here.
    """
    height = _height(store)
    newest = store.get(schema.CHECKPOINT_NEWEST)
    if newest is not None:
        height = min(height, int.from_bytes(newest, "big"))
    first = whole_from(store)
    if height < first:
        return first - 1
    until_ms = _block(store, _height(store)).header.time_ms - genesis.parameters.max_validity_ms
    low, high = first - 1, height  # block times never fall: every block up to `low` is old enough
    while low < high:
        middle = (low + high + 1) // 2
        if _block(store, middle).header.time_ms < until_ms:
            low = middle
        else:
            high = middle - 1
    return low


def prune(
    store: WritableStore, genesis: Genesis, archive: Path, progress: Progress = silent
) -> Pruned:
    """Move every transaction that may go. `OperationalError`: not (further) now; what is done is done."""
    begin, last = whole_from(store), prunable(store, genesis)
    at, files = begin, 0
    _make(archive)
    while at <= last:
        rows, slim = _next_rows(store, at, last)
        end = at + len(rows) - 1
        _write(archive / f"blocks-{at:016}-{end:016}.seg", SEGMENT.encode(rows))
        slim[schema.WHOLE_FROM] = (end + 1).to_bytes(8, "big")
        store.write([slim])
        at, files = end + 1, files + 1
        progress("archive", end, last)
    return Pruned(begin, at - 1, whole_from(store), files)


def put_back(store: WritableStore, archive: Path, progress: Progress = silent) -> Pruned:
    """Make blocks whole again from the archive's files, downward without a gap. `OperationalError` names a file that is not
    what was archived; blocks above it are back."""
    first = whole_from(store)
    last, files = first - 1, 0
    for path, begin, end in sorted(_files(archive), key=lambda each: each[1], reverse=True):
        if end < whole_from(store) - 1:
            break
        if begin >= whole_from(store):
            continue  # they are whole here
        pairs = _whole_rows(store, path, begin, min(end, whole_from(store) - 1))
        pairs[schema.WHOLE_FROM] = None if begin == 1 else begin.to_bytes(8, "big")
        store.write([pairs])
        first, files = begin, files + 1
        progress("put back", last - begin + 1, last)
    return Pruned(first, last, whole_from(store), files)


def _next_rows(store: Store, first: int, last: int) -> tuple[list[Row], Pairs]:
    """Rows for one file, and the same blocks without their transactions."""
    rows: list[Row] = []
    slim: Pairs = {}
    size = 0
    for height in range(first, last + 1):
        record, key = _block(store, height), schema.at_height(schema.BLOCK, height)
        _check_whole(record, height)
        value = _encode(record)
        rows.append((key, value))
        slim[key] = _encode(blanked(record))
        size += len(value)
        if size >= SEGMENT_BYTES:
            break
    return rows, slim


def _check_whole(record: BlockRecord, height: int) -> None:
    if root_of([body_id(raw) for raw in record.bodies]) != record.header.tx_root:
        raise OperationalError(
            f"the transactions of block {height} are damaged: nothing of it was archived."
            f" `tallystick ledger repair` mends it"
        )


def _whole_rows(store: Store, path: Path, begin: int, end: int) -> Pairs:
    """The file's rows, if each is the stored block with its transactions."""
    try:
        rows = SEGMENT.decode(_read(path))
    except Refused as refused:
        raise OperationalError(f"{path} does not decode: {refused.detail}") from None
    heights = [schema.height_in(key) for key, _ in rows]
    told = _NAME.fullmatch(path.name)
    wanted = range(int(told[1]), int(told[2]) + 1) if told else range(0)
    if heights != list(wanted) or any(
        key != schema.at_height(schema.BLOCK, height)
        for (key, _), height in zip(rows, heights, strict=True)
    ):
        raise OperationalError(f"{path} holds other blocks than its name says")
    pairs: Pairs = {}
    for (key, value), height in zip(rows, heights, strict=True):
        if not begin <= height <= end:
            continue
        try:
            record = block_record(value)
        except Damaged as damaged:
            raise OperationalError(f"{path}: block {height} {damaged}") from None
        if replace(record, bodies=()) != replace(_block(store, height), bodies=()):
            raise OperationalError(f"{path}: block {height} is not the one of this ledger")
        if root_of([body_id(raw) for raw in record.bodies]) != record.header.tx_root:
            raise OperationalError(f"{path}: the transactions of block {height} are others")
        pairs[key] = value
    return pairs


def _height(store: Store) -> int:
    try:
        return final_of(store.get(schema.FINAL))[0]
    except Damaged as damaged:
        raise OperationalError(f"the row of the last final block {damaged}") from None


def _block(store: Store, height: int) -> BlockRecord:
    try:
        return read_block(store, height)
    except Damaged as damaged:
        raise OperationalError(
            f"block {height} {damaged}: `tallystick ledger verify` says more"
        ) from None


# -- files -------------------------------------------------------------------------------------------------------------


def _make(archive: Path) -> None:
    try:
        archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OperationalError(f"cannot write an archive to {archive}: {error.strerror}") from None


def _files(archive: Path) -> Iterator[tuple[Path, int, int]]:
    try:
        for path in archive.iterdir():
            if told := _NAME.fullmatch(path.name):
                yield path, int(told[1]), int(told[2])
    except OSError as error:
        raise OperationalError(f"cannot read the archive {archive}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    """Durably under its name, or not at all; what is there already must be the same."""
    try:
        if path.exists() and path.read_bytes() == data:
            return
        draft = path.with_suffix(".new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if draft.read_bytes() != data:
            raise OperationalError(f"{draft} does not read back as it was written")
        if path.exists():
            raise OperationalError(f"{path} is there already and holds something else")
        draft.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OperationalError(f"cannot write {path}: {error.strerror}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SEGMENT.bytes_max + 1)
    except OSError as error:
        raise OperationalError(f"{path}: {error.strerror}") from None
