"""The double-sign guard's durable record: one small file beside the key, apart from the database.

Two slots of fixed size are written in turn, each with a sequence number and a SHA-256 over it, so a write that is torn at any
byte leaves the other slot whole. A slot is `magic 8 ‖ sequence u64 ‖ length u32 ‖ SHA-256 32 ‖ record`; the hash covers
sequence, length and record. Decided here: which slot counts, and that a file without one good slot stops the node.
Not here: what the record says (`consensus.accountability.guard`), and whether it agrees with the database (the core).
"""

import fcntl
import os
from hashlib import sha256
from pathlib import Path
from struct import Struct

from tallystick.network.wire.faults import OperationalError, invariant

SLOT_BYTES = 64 * 1024
"""One slot: the guard keeps a few statements of about 100 bytes for each height in flight."""

_HEAD = Struct(">8sQI32s")
_NUMBERS = Struct(">QI")
_MAGIC = b"tallygrd"
RECORD_BYTES_MAX = SLOT_BYTES - _HEAD.size
"""The largest record of the guard."""


class GuardFile:
    """`node.core.ports.GuardRecord` on disk, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open an existing file. `OperationalError` when it is missing, taken, or has no whole slot."""
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise OperationalError(
                f"there is no guard file {path}. A vote key without its guard may sign twice: restore the file, or "
                f"bring this node back under its spare id."
            ) from None
        except OSError as error:
            raise OperationalError(f"cannot open the guard file {path}: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sequence, self._record = self._newest()
        except BlockingIOError:
            os.close(self._file)
            raise OperationalError(
                f"another process signs with the guard {path}. One key votes from one process only."
            ) from None
        except OSError as error:
            os.close(self._file)
            raise OperationalError(f"cannot read the guard file {path}: {error}") from error
        except OperationalError:
            os.close(self._file)
            raise

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty guard, durable with its folder's entry. Refuses to touch one that is there."""
        if path.exists():
            raise OperationalError(f"{path} exists. An emptied guard would let its key sign twice.")
        draft = path.with_name(path.name + ".new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(handle, bytes(2 * SLOT_BYTES), 0)
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read(self) -> bytes | None:
        """The last durable record, None if there never was one."""
        return self._record

    def write(self, record: bytes) -> None:
        """Durable when this returns. `OperationalError`: assume nothing, sign nothing, stop the node."""
        invariant(
            len(record) <= RECORD_BYTES_MAX, "guard record above its bound", bytes=len(record)
        )
        sequence = self._sequence + 1
        try:
            _write_all(self._file, slot_of(sequence, record), (sequence % 2) * SLOT_BYTES)
            os.fdatasync(self._file)
        except OSError as error:
            raise OperationalError(f"cannot write the guard file {self._path}: {error}") from error
        self._sequence, self._record = sequence, record

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _newest(self) -> tuple[int, bytes | None]:
        """Sequence and record of the better slot; (0, None) for a file that was never written."""
        data = _read_all(self._file, 2 * SLOT_BYTES)
        if len(data) != 2 * SLOT_BYTES:
            raise OperationalError(
                f"the guard file {self._path} is cut: {len(data)} bytes of {2 * SLOT_BYTES}."
            )
        newest = newest_slot(data)
        if newest is None:
            raise OperationalError(
                f"the guard file {self._path} has no whole slot. The key may not sign."
            )
        return newest


def newest_slot(data: bytes) -> tuple[int, bytes | None] | None:
    """Sequence and record of the better of two slots; (0, None) if none was ever written whole; None: the file is damaged."""
    slots = [_parse(data[:SLOT_BYTES], 0), _parse(data[SLOT_BYTES:], 1)]
    whole = [slot for slot in slots if slot is not None]
    if whole:
        return max(whole)
    # The first write goes to slot 1, so slot 0 still holds its zeros when that write was torn.
    return None if any(data[:SLOT_BYTES]) else (0, None)


def slot_of(sequence: int, record: bytes) -> bytes:
    """The bytes of one slot, without what an older record left behind it."""
    digest = sha256(_NUMBERS.pack(sequence, len(record)) + record).digest()
    return _HEAD.pack(_MAGIC, sequence, len(record), digest) + record


def _parse(slot: bytes, place: int) -> tuple[int, bytes] | None:
    """The sequence and record of a whole slot that stands where its sequence belongs."""
    magic, sequence, length, digest = _HEAD.unpack_from(slot)
    if magic != _MAGIC or length > RECORD_BYTES_MAX or sequence % 2 != place:
        return None
    record = slot[_HEAD.size : _HEAD.size + length]
    if sha256(_NUMBERS.pack(sequence, length) + record).digest() != digest:
        return None
    return sequence, record


def _write_all(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _read_all(handle: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.pread(handle, size - len(data), len(data))
        if not more:
            break
        data += more
    return data
