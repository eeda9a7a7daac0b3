"""A node's disk: batches wait, are written together, and what was not written is lost in a crash.

The order is the driver's: database, guard, release. A crash may fall before the database, between database and guard, or
between guard and release; the nemesis arms one of these and the next write that carries a guard record runs into it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.node.core.effects import Batch, Outgoing
from tallystick.node.storage.memory import MemoryGuard, MemoryStore


class PowerLost(Exception):
    """The crash that was armed has come."""


@dataclass(slots=True)
class Write:
    batch: Batch
    after: tuple[Outgoing, ...]
    mark: int


@dataclass(slots=True)
class Disk:
    """`MemoryStore` and `MemoryGuard` behind one writer with group commit."""

    store: MemoryStore = field(default_factory=MemoryStore)
    guard: MemoryGuard = field(default_factory=MemoryGuard)
    waiting: list[Write] = field(default_factory=list)
    writing: bool = False
    crash_point: str | None = None
    """Where the next write of a guard record ends in a crash."""
    writes: int = 0

    def hand_over(self, batch: Batch, after: tuple[Outgoing, ...]) -> None:
        self.waiting.append(Write(batch, after, self.store.mark))

    def write(self, together: int, written: Callable[[Write], None]) -> None:
        """Make the first `together` batches durable as one write, then tell of each. Raises `PowerLost` when armed."""
        group, self.waiting = self.waiting[:together], self.waiting[together:]
        records = [write.batch.guard for write in group if write.batch.guard is not None]
        point = self.crash_point if records else None
        if point == "before the batch":
            raise PowerLost
        self.store.write([write.batch.pairs for write in group])
        self.writes += 1
        if point == "after the database":
            raise PowerLost
        if records:
            self.guard.write(records[-1])
        if point == "after the guard":
            raise PowerLost
        self.store.release(group[-1].mark)
        for write in group:
            written(write)

    def crash(self) -> None:
        """Only what was written is left."""
        self.waiting.clear()
        self.writing = False
        self.crash_point = None
        self.store = MemoryStore(self.store.snapshot())
