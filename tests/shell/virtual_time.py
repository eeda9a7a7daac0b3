"""An asyncio loop whose time is a number: waiting costs nothing, and every run is the same.

The standard selector loop with a selector that never waits: when nothing is ready it moves the clock to the next timer.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START_MS = 1_700_000_000_000


class _StubSelector(selectors.SelectSelector):
    """No sockets: `select` passes the time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the story waits for something that never happens")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._stub = _StubSelector()
        super().__init__(self._stub)

    def time(self) -> float:
        return self._stub.now_s

    def now_ms(self) -> int:
        """The clock for what runs on this loop."""
        return START_MS + round(self._stub.now_s * 1_000)


def play(story: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run a story to its end."""
    try:
        return loop.run_until_complete(story)
    finally:
        loop.run_until_complete(_end_the_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _end_the_rest() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
