"""Virtual time: one heap of milliseconds. What is planned for one moment happens in the order in which it was planned."""

import heapq
from collections.abc import Callable


class Timeline:
    """Milliseconds since the run began, and what is planned for later."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def next_count(self) -> int:
        """A number that nothing else has: it orders what happens at one moment, and names submissions."""
        self._count += 1
        return self._count

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self.next_count(), action))

    def run(self, until_ms: int) -> None:
        """Play everything up to a moment."""
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(heap)
            action()
        self.now_ms = until_ms
