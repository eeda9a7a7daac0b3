"""One thread that makes batches durable: database first, then the guard's record, then the tokens, in order.

Group commit: whatever waits when the thread comes back is written as one synced batch, so a slow disk makes larger batches
and not a longer queue. Decided here: an error ends the writer. A failed fsync is never tried again, because the kernel may
have dropped the pages and would call the next one a success. Not here: what is released by a token (`driver`).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from tallystick.network.wire.faults import OperationalError, present
from tallystick.node.core.effects import Batch

BATCHES_PER_WRITE_MAX = 64
"""Batches merged into one synced write: bounds the time until the first of them is durable."""


class DurableStore(Protocol):
    """The writer's side of the store."""

    @property
    def mark(self) -> int: ...

    def write(self, batches: Sequence[Mapping[bytes, bytes | None]]) -> None:
        """One atomic, synced write. Called on the writer's thread."""
        ...

    def release(self, mark: int) -> None: ...


class DurableGuard(Protocol):
    """The guard's record beside the key."""

    def write(self, record: bytes) -> None:
        """Synced when it returns. Called on the writer's thread."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """One group commit, for the books."""

    tokens: tuple[int, ...]
    sync_seconds: float


class BatchWriter(Protocol):
    """What the driver needs of a disk."""

    def start(
        self, on_written: Callable[[Written], None], on_error: Callable[[Exception], None]
    ) -> None:
        """Call back on the running loop: tokens in the order of `hand_over`, then nothing more after an error."""
        ...

    def hand_over(self, batch: Batch) -> None: ...

    async def stop(self) -> None:
        """Write what was handed over, then return."""
        ...


class DiskWriter:
    """The writer's thread. `hand_over` on the loop's thread only."""

    def __init__(self, store: DurableStore, guard: DurableGuard | None) -> None:
        """`guard` None: a node that signs nothing (an observer)."""
        self._store = store
        self._guard = guard
        self._waiting: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="disk-writer", daemon=True)
        self._marks: dict[int, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._on_written: Callable[[Written], None] = lambda written: None
        self._on_error: Callable[[Exception], None] = lambda error: None

    def start(
        self, on_written: Callable[[Written], None], on_error: Callable[[Exception], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._on_written, self._on_error = on_written, on_error
        self._thread.start()

    def hand_over(self, batch: Batch) -> None:
        """Queue a batch that the core has staged."""
        self._marks[batch.token] = self._store.mark
        self._waiting.put(batch)

    async def stop(self) -> None:
        """Write what waits, then end the thread."""
        if self._ended is None:
            return
        self._waiting.put(None)
        await self._ended.wait()
        self._thread.join()

    def _run(self) -> None:
        loop = present(self._loop, "the disk writer runs without a loop")
        try:
            while batches := self._next():
                began = time.perf_counter()
                self._write(batches)
                written = Written(
                    tuple(batch.token for batch in batches), time.perf_counter() - began
                )
                _tell(loop, self._durable, written)
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing after it is durable
            _tell(loop, self._on_error, error)
        finally:
            _tell(loop, present(self._ended, "the disk writer was never started").set)

    def _next(self) -> list[Batch]:
        """All batches that wait, at least one; empty when it is time to end."""
        first = self._waiting.get()
        batches: list[Batch] = []
        while first is not None:
            batches.append(first)
            if len(batches) == BATCHES_PER_WRITE_MAX:
                break
            try:
                first = self._waiting.get_nowait()
            except Empty:
                break
        else:
            if batches:
                self._waiting.put(None)  # write these first, then end
        return batches

    def _write(self, batches: Sequence[Batch]) -> None:
        pairs = [batch.pairs for batch in batches if batch.pairs]
        if pairs:
            self._store.write(pairs)
        records = [batch.guard for batch in batches if batch.guard is not None]
        if records:
            if self._guard is None:
                raise OperationalError("a batch carries a guard record and this node has no guard")
            self._guard.write(records[-1])

    def _durable(self, written: Written) -> None:
        """On the loop: reads may go to the database again, then whoever waited is told."""
        for token in written.tokens:
            self._store.release(self._marks.pop(token))
        self._on_written(written)


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *facts: object) -> None:
    try:
        loop.call_soon_threadsafe(call, *facts)
    except RuntimeError:
        # The loop is closed: the process is ending and nobody is left to be told.
        return
