"""A node's disk: batches wait, are written together, and what was not written is lost in a crash.

The order is the driver's: database, guard, release. A crash may fall before the database, between database and guard, or
between guard and release; the nemesis arms one of these and the next write that carries a guard record runs into it. It may
also tear the write: of several batches a prefix is kept, and of the guard's file, in its real format, any number of bytes.
A failing disk raises `OperationalError`, as the store does, and its node halts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tallystick.network.wire.faults import OperationalError
from tallystick.node.core.effects import Batch, Outgoing
from tallystick.node.storage.guard_file import SLOT_BYTES, newest_slot, slot_of
from tallystick.node.storage.memory import MemoryGuard, MemoryStore


class PowerLost(Exception):
    """The crash that was armed has come."""


class SimStore(MemoryStore):
    """A database whose reads can be made to fail."""

    unreadable = False

    def get(self, key: bytes) -> bytes | None:
        if self.unreadable:
            raise OperationalError("the disk cannot be read")
        return super().get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self.unreadable:
            raise OperationalError("the disk cannot be read")
        return super().scan(prefix)


class SimGuard(MemoryGuard):
    """A guard that can be torn at any byte of its file."""

    def __init__(self, record: bytes | None = None) -> None:
        super().__init__(record)
        self._last: list[tuple[int, bytes]] = [] if record is None else [(1, record)]
        """Sequence and record of each slot of the file, the older one first."""

    def write(self, record: bytes) -> None:
        super().write(record)
        sequence = self._last[-1][0] + 1 if self._last else 1
        self._last = [*self._last[-1:], (sequence, record)]

    def tear(self, record: bytes, part: float) -> None:
        """The power fails when `part` (0 to 1) of the new slot's bytes are on the disk."""
        image = bytearray(2 * SLOT_BYTES)
        for sequence, kept in self._last:
            _put(image, sequence, slot_of(sequence, kept))
        sequence = self._last[-1][0] + 1 if self._last else 1
        torn = slot_of(sequence, record)
        _put(image, sequence, torn[: int(part * len(torn))])
        found = newest_slot(bytes(image))
        if found is None:
            raise OperationalError("the guard file has no whole slot")
        _, self._record = found


def _put(image: bytearray, sequence: int, data: bytes) -> None:
    at = (sequence % 2) * SLOT_BYTES
    image[at : at + len(data)] = data


@dataclass(slots=True)
class Write:
    batch: Batch
    after: tuple[Outgoing, ...]
    mark: int


@dataclass(slots=True)
class Disk:
    """`MemoryStore` and `MemoryGuard` behind one writer with group commit."""

    store: SimStore = field(default_factory=SimStore)
    guard: SimGuard = field(default_factory=SimGuard)
    waiting: list[Write] = field(default_factory=list)
    writing: bool = False
    crash_point: str | None = None
    """Where the next write of a guard record ends in a crash."""
    tear_at: float = 0.5
    """How far a torn write came, as a part of the whole."""
    read_fails: bool = False
    """The next read that the core needs of the database raises."""
    write_fails: str | None = None
    """The next write raises; what it wrote is "kept" or "lost", and nobody knows which."""
    full: bool = False
    """Every write raises."""

    @property
    def failing(self) -> bool:
        return self.read_fails or self.write_fails is not None or self.full

    def hand_over(self, batch: Batch, after: tuple[Outgoing, ...]) -> None:
        self.waiting.append(Write(batch, after, self.store.mark))

    def write(self, together: int, written: Callable[[Write], None]) -> None:
        """Make the first `together` batches durable as one write, then tell of each. Raises `PowerLost` when armed, and
        `OperationalError` when the disk fails: then nothing is released."""
        group, self.waiting = self.waiting[:together], self.waiting[together:]
        records = [write.batch.guard for write in group if write.batch.guard is not None]
        self._fail(group)
        point = self.crash_point if records else None
        if point == "before the batch":
            raise PowerLost
        if point == "torn batch":
            # A database batch is atomic: the torn one is dropped whole when the log is read again.
            self.store.write([write.batch.pairs for write in group[: int(self.tear_at * together)]])
            raise PowerLost
        self.store.write([write.batch.pairs for write in group])
        if point == "after the database":
            raise PowerLost
        if records and point == "torn guard":
            self.guard.tear(records[-1], self.tear_at)
            raise PowerLost
        if records:
            self.guard.write(records[-1])
        if point == "after the guard":
            raise PowerLost
        self.store.release(group[-1].mark)
        for write in group:
            written(write)

    def _fail(self, group: list[Write]) -> None:
        if self.full:
            raise OperationalError("no space left on the disk")
        if self.write_fails is None:
            return
        if self.write_fails == "kept":
            self.store.write([write.batch.pairs for write in group])
        raise OperationalError("the disk did not confirm a write")

    def crash(self) -> None:
        """Only what was written is left."""
        self.waiting.clear()
        self.writing = self.read_fails = False
        self.crash_point = self.write_fails = None
        self.store = SimStore(self.store.snapshot())

    def heal(self) -> None:
        """Whatever was armed does not come any more."""
        self.crash_point = self.write_fails = None
        self.read_fails = self.full = False

    def copy(self) -> "Copy":
        """A backup of the whole machine, taken between two steps."""
        return Copy(self.store.snapshot(), self.guard.read())

    def restore(self, copy: "Copy") -> None:
        """Database and guard go back together."""
        self.crash()
        self.store, self.guard = SimStore(copy.database), SimGuard(copy.guard)


@dataclass(frozen=True, slots=True)
class Copy:
    database: dict[bytes, bytes]
    guard: bytes | None
