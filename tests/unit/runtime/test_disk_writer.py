"""The writer's thread: everything that waits in one sync, database before guard, tokens in order, and no second try."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.core.effects import Batch
from tallystick.node.runtime.disk_writer import BATCHES_PER_WRITE_MAX, DiskWriter, Written
from tallystick.node.storage.memory import MemoryGuard, MemoryStore


@dataclass
class Disk:
    """Store and guard in one story; the first write waits for `gate`, as a slow disk does."""

    story: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    store: MemoryStore = field(default_factory=MemoryStore)
    guard: MemoryGuard = field(default_factory=MemoryGuard)
    entered: threading.Event = field(default_factory=threading.Event)
    full: bool = False

    @property
    def mark(self) -> int:
        return self.store.mark

    def stage(self, pairs: Mapping[bytes, bytes | None]) -> None:
        self.store.stage(pairs)

    def write(self, batches: Sequence[Mapping[bytes, bytes | None]]) -> None:
        self.entered.set()
        self.gate.wait(10)
        self.story.append(f"database {len(batches)}")
        if self.full:
            raise OperationalError("the database cannot write: no space left")
        self.store.write(batches)

    def release(self, mark: int) -> None:
        self.store.release(mark)


class Guard:
    def __init__(self, story: list[str]) -> None:
        self.story = story

    def write(self, record: bytes) -> None:
        self.story.append(f"guard {record.decode()}")


class Told:
    """What the loop was told."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.errors: list[Exception] = []
        self.changed = asyncio.Event()

    def on_written(self, written: Written) -> None:
        self.tokens += written.tokens
        self.changed.set()

    def on_error(self, error: Exception) -> None:
        self.errors.append(error)
        self.changed.set()


def hand_over(disk: Disk, writer: DiskWriter, tokens: Sequence[int]) -> None:
    for token in tokens:
        pairs = {b"newest": b"%d" % token}
        disk.stage(pairs)
        writer.hand_over(Batch(token, pairs, b"record-%d" % token))


async def test_what_waits_for_a_slow_disk_is_written_as_one_batch_with_the_latest_guard_record() -> (
    None
):
    disk, told = Disk(), Told()
    writer = DiskWriter(disk, Guard(disk.story))
    writer.start(told.on_written, told.on_error)
    hand_over(disk, writer, [1])
    await asyncio.to_thread(disk.entered.wait, 10)
    hand_over(disk, writer, [2, 3, 4])
    disk.gate.set()
    await writer.stop()
    assert disk.story == ["database 1", "guard record-1", "database 3", "guard record-4"]
    assert told.tokens == [1, 2, 3, 4]
    assert disk.store.snapshot() == {b"newest": b"4"}


async def test_reads_see_the_newest_value_whatever_is_durable() -> None:
    disk, told = Disk(), Told()
    writer = DiskWriter(disk, None)
    writer.start(told.on_written, told.on_error)
    for token in range(1, 4):
        pairs = {b"k": b"%d" % token}
        disk.stage(pairs)
        writer.hand_over(Batch(token, pairs))
        assert disk.store.get(b"k") == b"%d" % token
    disk.gate.set()
    await writer.stop()
    assert disk.store.get(b"k") == b"3"


async def test_a_group_is_bounded() -> None:
    disk, told = Disk(), Told()
    writer = DiskWriter(disk, None)
    writer.start(told.on_written, told.on_error)
    writer.hand_over(Batch(0, {b"k": b"v"}))
    await asyncio.to_thread(disk.entered.wait, 10)
    for token in range(1, BATCHES_PER_WRITE_MAX + 2):
        writer.hand_over(Batch(token, {b"k": b"v"}))
    disk.gate.set()
    await writer.stop()
    assert disk.story == ["database 1", f"database {BATCHES_PER_WRITE_MAX}", "database 1"]
    assert told.tokens == list(range(BATCHES_PER_WRITE_MAX + 2))


async def test_a_step_that_keeps_nothing_costs_no_sync_but_keeps_its_place() -> None:
    disk, told = Disk(), Told()
    disk.gate.set()
    writer = DiskWriter(disk, None)
    writer.start(told.on_written, told.on_error)
    writer.hand_over(Batch(1, {}))
    await writer.stop()
    assert (disk.story, told.tokens) == ([], [1])


async def test_a_failed_sync_is_told_once_and_nothing_is_written_after_it() -> None:
    disk, told = Disk(full=True), Told()
    writer = DiskWriter(disk, Guard(disk.story))
    writer.start(told.on_written, told.on_error)
    hand_over(disk, writer, [1])
    await asyncio.to_thread(disk.entered.wait, 10)
    disk.gate.set()
    await told.changed.wait()
    hand_over(disk, writer, [2, 3])
    await writer.stop()
    assert disk.story == ["database 1"]  # no guard, no second try
    assert [str(error) for error in told.errors] == ["the database cannot write: no space left"]
    assert told.tokens == []
    assert disk.store.get(b"newest") == b"3"  # the core still reads what it staged


async def test_a_guard_record_on_a_node_without_a_guard_is_an_error() -> None:
    disk, told = Disk(), Told()
    disk.gate.set()
    writer = DiskWriter(disk, None)
    writer.start(told.on_written, told.on_error)
    hand_over(disk, writer, [1])
    await told.changed.wait()
    await writer.stop()
    assert "no guard" in str(told.errors[0])


async def test_a_writer_that_never_started_stops_at_once() -> None:
    disk = Disk()
    writer = DiskWriter(disk, None)
    hand_over(disk, writer, [1])
    async with asyncio.timeout(10):
        await writer.stop()
    assert disk.story == [], "nobody was there to write it"


@pytest.mark.parametrize("count", [1, 200])
async def test_stopping_writes_what_was_handed_over_first(count: int) -> None:
    disk, told = Disk(), Told()
    disk.gate.set()
    writer = DiskWriter(disk, None)
    writer.start(told.on_written, told.on_error)
    for token in range(count):
        writer.hand_over(Batch(token, {b"k": b"%d" % token}))
    await writer.stop()
    assert told.tokens == list(range(count))
